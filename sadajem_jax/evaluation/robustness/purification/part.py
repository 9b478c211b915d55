"""Robustness behind the model's own chain, as pieces of an evaluation.

The chain is attacked with the full gradient, with BPDA's, since older work reports nothing else,
and with the points that an attack on the network alone ends with; the worst case of the three is
the number. The network alone under the same PGD stands beside it: purification has to beat it.
docs/purification.md says more.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sadajem_jax.console.progress import Advance, Joint
from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation import networks
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import Cost, total
from sadajem_jax.evaluation.parts import Item, Piece, Size
from sadajem_jax.evaluation.passes import GRADIENT_SHARE
from sadajem_jax.evaluation.robustness import refusals, unfinished
from sadajem_jax.evaluation.robustness.purification import attack, cost, notes, picture
from sadajem_jax.evaluation.robustness.purification.campaign import MISCLASSIFIED, STANDS, Result
from sadajem_jax.evaluation.robustness.purification.presets import Purification
from sadajem_jax.inference.images import as_float

NAME = "robustness/purified"
REVERSE_SHARE = 2 * GRADIENT_SHARE  # through a gradient go about twice its activations
STATIC, TRANSFER, FULL, BPDA = "static", "transfer", "full_gradient", "bpda"
ON_CHAIN = (FULL, BPDA, TRANSFER)
SHARED = f"The attack was made as a part of {NAME}/chain, and its time is counted there."


class _Alone:
    """The attack on the network alone: both pieces need it, and the first that is done makes it."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.found: Result | None = None

    def __call__(self, progress: Advance) -> Result:
        self.found = self.found or _attack(self._asked, _chosen(self._asked), STATIC, progress)
        return self.found


def pieces(asked: Asked) -> Iterator[Piece]:
    """Two: the model behind its chain, and the network alone."""
    costs = {kind: functools.partial(_cost, asked, kind) for kind in (STATIC, *ON_CHAIN)}

    def takes() -> Cost:
        made = [one() for one in costs.values()]
        return total([*made, _shown(asked.options.purification)])

    alone = _Alone(asked)
    of_chain = functools.partial(_of_chain, asked, alone)
    of_network = functools.partial(_of_network, asked, alone)
    yield _piece(asked, "chain", asked.options.purification, of_chain, takes)
    yield _piece(asked, STATIC, _settings(asked, STATIC), of_network, costs[STATIC])


def _piece(
    asked: Asked,
    name: str,
    settings: Purification,
    run: Callable[[Advance], Iterator[Item]],
    takes: Callable[[], Cost],
) -> Piece:
    return Piece(
        f"{NAME}/{name}",
        asked.on_test | _recorded(asked, settings),
        run,
        checksum=asked.passes.test_checksum,
        unit="",
        cost=takes,
    )


def _of_chain(asked: Asked, alone: _Alone, progress: Advance) -> Iterator[Item]:
    """Size, notes, numbers and the figure of the model behind its chain."""
    chosen, settings = _chosen(asked), asked.options.purification
    kept = [_kept(asked, kind) for kind in (STATIC, *ON_CHAIN)]
    continued = any(path.exists() for path in kept)
    results = _attack_chain(asked, alone, chosen, progress)
    yield Size(len(chosen.labels))
    yield from notes.chain(settings, results)
    if continued:
        yield unfinished.CONTINUED
    stands = np.all([found.verdicts == STANDS for found in results.values()], axis=0)
    yield f"{NAME}/accuracy", float(stands.mean())
    yield from ((f"{NAME}/{kind}/accuracy", found.accuracy) for kind, found in results.items())
    yield f"{NAME}/clean_accuracy", results[FULL].clean_accuracy
    yield from _picture(asked, chosen, results[FULL])
    for path in kept:
        unfinished.forget(path)


def _of_network(asked: Asked, alone: _Alone, progress: Advance) -> Iterator[Item]:
    """Size, notes and numbers of the network alone."""
    kept = _kept(asked, STATIC)
    shared, continued = alone.found is not None, kept.exists()
    result = alone(progress)
    yield Size(len(result.verdicts))
    yield from notes.static(_settings(asked, STATIC), result)
    if shared:
        yield SHARED
    elif continued:
        yield unfinished.CONTINUED
    yield f"{NAME}/static/accuracy", result.accuracy
    yield f"{NAME}/static/clean_accuracy", result.clean_accuracy
    unfinished.forget(kept)


def _attack_chain(
    asked: Asked, alone: _Alone, chosen: Images, progress: Advance
) -> dict[str, Result]:
    """What the three attacks on the chain find, by name."""
    costs = {kind: _cost(asked, kind).gradients for kind in (STATIC, FULL, BPDA, TRANSFER)}
    joint = Joint(progress, costs)
    points = alone(joint.of(STATIC)).points
    found = {kind: _attack(asked, chosen, kind, joint.of(kind)) for kind in (FULL, BPDA)}
    return found | {TRANSFER: _attack(asked, chosen, TRANSFER, joint.of(TRANSFER), points)}


def _attack(
    asked: Asked,
    chosen: Images,
    kind: str,
    progress: Advance,
    starts: np.ndarray | None = None,
) -> Result:
    """One attack, which goes on where it was stopped."""
    model, options, search = asked.model, asked.options, asked.options.attack_dtype
    with refusals.as_reasons():
        return attack.run(
            asked.logits_fn,
            model.variables,
            chosen.images,
            chosen.labels,
            _settings(asked, kind),
            kernel=model.generator.kernel,
            through_chain=kind == FULL,
            seed=model.seed,
            search_fn=None if search == "float32" else networks.logits_fn(model.network, search),
            batch_size=max(1, options.batch_size // REVERSE_SHARE),
            starts=starts,
            checkpoint=_kept(asked, kind),
            progress=progress,
        )


def _settings(asked: Asked, kind: str) -> Purification:
    settings = asked.options.purification
    if kind == STATIC:
        return settings._replace(num_steps=0)
    return settings._replace(attack_steps=0) if kind == TRANSFER else settings


def _picture(asked: Asked, chosen: Images, result: Result) -> Iterator[Item]:
    """Images under the full gradient, if any was attacked."""
    attacked = np.flatnonzero(result.verdicts != MISCLASSIFIED)[: picture.SHOWN]
    if len(attacked):
        yield picture.figure(
            asked.logits_fn,
            asked.model.variables,
            as_float(chosen.images[attacked]),
            result.points[attacked],
            chosen.labels[attacked],
            asked.options.purification,
            asked.model.class_names,
            kernel=asked.model.generator.kernel,
            seed=asked.model.seed,
        )


def _chosen(asked: Asked) -> Images:
    return asked.subset(asked.options.purification.images)


def _kept(asked: Asked, kind: str) -> pathlib.Path:
    return unfinished.path(asked, f"purified_{kind}")


def _cost(asked: Asked, kind: str) -> Cost:
    number = min(asked.options.purification.images, len(asked.passes.test.labels))
    return cost.attack(_settings(asked, kind), number, through_chain=kind == FULL)


def _shown(settings: Purification) -> Cost:
    """Of the figure."""
    images = 2 * picture.SHOWN
    return Cost(forwards=2 * images, gradients=images * settings.num_steps)


def _recorded(asked: Asked, settings: Purification) -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "purification": settings._asdict(),
        "norm": "l_inf",
        "eps": attack.EPS,
        "step": attack.STEP_SIZE,
        "seed": asked.model.seed,
        "search": asked.options.attack_dtype,
    }
