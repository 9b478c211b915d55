"""Further terms of the objective: images drawn in the step, and a loss of their logits.

The paper's systems have none. A system that needs one, as adversarial examples for further negative
samples, writes a `Term`, adds it, and names it in config.objective.further: docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax

if TYPE_CHECKING:
    from sadajem_jax.step_inputs import Batch

Network = Callable[[jax.Array], jax.Array]
"""x [M, H, W, channels] -> logits [M, C], in training mode, at the parameters before the step."""


class Drawn(NamedTuple):
    """Images [M, H, W, channels] and a class [M] int for each, whatever the loss makes of it."""

    images: jax.Array
    labels: jax.Array


class Term(NamedTuple):
    """A term: both passes of the step see the same images, and no gradient flows through them.

    Attributes:
      name: of its metric, and what config.objective.further calls it.
      draw: (key, network, batch) -> the images; M is a multiple of train.micro_batches and
        of model.norm_groups, and of the devices.
      loss: (logits [M, C], labels [M]) -> scalar, to be minimised, weighted by
        config.objective.further_weight.
    """

    name: str
    draw: Callable[[jax.Array, Network, Batch], Drawn]
    loss: Callable[[jax.Array, jax.Array], jax.Array]


TERMS: dict[str, Term] = {}
"""Those that have been added, by name."""


def add(term: Term) -> None:
    """Makes a term known by its name; the last one of a name counts."""
    TERMS[term.name] = term
