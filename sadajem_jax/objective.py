"""The joint objective log p(y | T(x)) + log p(x) (Eq. 11), as the loss of one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sadajem_jax import energy
from sadajem_jax.further_terms import Term

L2_FORMS = ("squared_mean", "mean_square")


class Weights(NamedTuple):
    """Weights of the loss.

    Attributes:
      px: of the p(x) term. The released second pass forgets it; ours keeps it in both.
      pyx: of the cross-entropy. The released code only switches the term on or off with it.
      l2: of the penalty on log-densities, inside the p(x) term.
      l2_form: "squared_mean" (f_data^2 + f_neg^2 of the batches' means, the released SADA-JEM) or
        "mean_square" (the mean of the rows' squares, IGEBM).
      further: of every further term.
    """

    px: float = 1.0
    pyx: float = 1.0
    l2: float = 0.0
    l2_form: str = "squared_mean"
    further: float = 1.0


class Passes(NamedTuple):
    """One value for each batch of a pass, in the released order: images, labels or logits.

    Without a p(x) term there is nothing of `data` and `negatives`: they are None.

    Attributes:
      data: of the p(x) stream's images, batch B.
      negatives: of the negative samples, batch B.
      further: of the images of each further term, see `further_terms`.
      labelled: of the augmented images, batch L.
    """

    data: Any
    negatives: Any
    further: tuple[Any, ...]
    labelled: Any


class Terms(NamedTuple):
    """The parts of the loss, each a scalar; the names are the metrics'.

    Those of the p(x) term are None where there is none. Where that is one of p(x | y), as IGEBM's,
    each log-density is f(x)[y], of the row's own class.

    Attributes:
      cross_entropy: mean -log p(y | T(x)), nats.
      accuracy: share of the labelled batch classified right.
      log_density_data: f_data, mean log-density of the data.
      log_density_data_std: standard deviation of the data's log-density over the batch.
      log_density_samples: f_neg, mean log-density of the negative samples.
      px_term: -(f_data - f_neg) + l2 penalty, before its weight.
      further: name -> the loss of a further term, before its weight.
    """

    cross_entropy: jax.Array
    accuracy: jax.Array
    log_density_data: Any = None
    log_density_data_std: Any = None
    log_density_samples: Any = None
    px_term: Any = None
    further: Mapping[str, jax.Array] | None = None

    def metrics(self) -> dict[str, jax.Array]:
        """Name -> scalar of all that there is."""
        own = {k: v for k, v in self._asdict().items() if k != "further" and v is not None}
        return own | dict(self.further or {})


def joint_loss(
    logits: Passes, labels: Passes, weights: Weights, further: Sequence[Term] = ()
) -> tuple[jax.Array, Terms]:
    """Loss of one pass: px [-(f_data - f_neg) + l2 penalty] + pyx CE + further terms.

    Without logits of data and negatives there is no p(x) term.

    Args:
      logits: [B, C], [B, C], [L, C], and [M, C] of each further term; the negative samples carry
        no gradient of their own.
      labels: [L] int of the labelled batch, [M] of each further term; [B] of data and negatives
        make the p(x) term one of p(x | y) (IGEBM), None one of p(x).
      weights: see `Weights`.
      further: the further terms.

    Returns:
      (loss, Terms), scalars.
    """
    px = px_term(logits, labels, weights) if logits.data is not None else {}
    cross_entropy = jnp.mean(energy.cross_entropy(logits.labelled, labels.labelled))
    correct = jnp.argmax(logits.labelled, axis=-1) == labels.labelled
    accuracy = jnp.mean(correct.astype(cross_entropy.dtype))
    loss = weights.pyx * cross_entropy
    if px:
        loss = weights.px * px["px_term"] + loss
    each = zip(further, logits.further, labels.further, strict=True)
    more = {term.name: term.loss(f, y) for term, f, y in each}
    for value in more.values():
        loss = loss + weights.further * value
    return loss, Terms(cross_entropy, accuracy, **px, further=more)


def px_term(logits: Passes, labels: Passes, weights: Weights) -> dict[str, jax.Array]:
    """The p(x) term, or that of p(x | y) where there are labels, and what it is made of, by name.

    The l2 penalty keeps log-densities near 0, in one of two forms: the squares of the batches'
    means, as SADA-JEM's released code has it, or the means of the squares (IGEBM; Du and Mordatch
    2019, section 3.3).
    """
    data = energy.log_density_of(logits.data, labels.data)
    f_data, spread = jnp.mean(data), jax.lax.stop_gradient(data).std()
    negatives = energy.log_density_of(logits.negatives, labels.negatives)
    f_neg = jnp.mean(negatives)
    if weights.l2_form == "mean_square":
        squares = jnp.mean(data**2) + jnp.mean(negatives**2)
    else:
        squares = f_data**2 + f_neg**2
    return {
        "log_density_data": f_data,
        "log_density_data_std": spread,
        "log_density_samples": f_neg,
        "px_term": f_neg - f_data + weights.l2 * squares,
    }
