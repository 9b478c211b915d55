"""Robustness behind the model's own chain, as pieces of an evaluation.

The number is that of the full gradient through the chain. BPDA's stands beside it, since older
work reports nothing else, and so does the network alone under the same PGD: purification has to
beat it. docs/purification.md says more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation import networks
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import Cost, total
from sadajem_jax.evaluation.parts import Item, Piece, Size
from sadajem_jax.evaluation.passes import GRADIENT_SHARE
from sadajem_jax.evaluation.robustness.purification import attack, cost, picture
from sadajem_jax.evaluation.robustness.purification.campaign import MISCLASSIFIED, Result
from sadajem_jax.evaluation.robustness.purification.presets import Purification
from sadajem_jax.inference.images import as_float

NAME = "robustness/purified"
REVERSE_SHARE = 2 * GRADIENT_SHARE  # through a gradient go about twice its activations


def pieces(asked: Asked) -> Iterator[Piece]:
    """Three: the full gradient, BPDA, and the network alone."""
    for kind in ("full_gradient", "bpda", "static"):
        yield _piece(asked, kind)


def _piece(asked: Asked, kind: str) -> Piece:
    settings = asked.options.purification
    if kind == "static":
        settings = settings._replace(num_steps=0)
    through_chain = kind == "full_gradient"

    def run(progress: Advance) -> Iterator[Item]:
        yield from evaluate(asked, kind, settings, progress, through_chain=through_chain)

    def takes() -> Cost:
        found = cost.attack(settings, _number(asked), through_chain=through_chain)
        return total([found, _shown(settings)]) if through_chain else found

    return Piece(
        f"{NAME}/{kind}",
        asked.on_test | _recorded(asked, settings),
        run,
        checksum=asked.passes.test_checksum,
        unit="",
        cost=takes,
    )


def evaluate(
    asked: Asked, kind: str, settings: Purification, progress: Advance, *, through_chain: bool
) -> Iterator[Item]:
    """Attacks the first of the test images; yields size, notes, numbers and the figure."""
    model, options = asked.model, asked.options
    chosen = asked.subset(settings.images)
    search = options.attack_dtype
    result = attack.run(
        asked.logits_fn,
        model.variables,
        chosen.images,
        chosen.labels,
        settings,
        kernel=model.generator.kernel,
        through_chain=through_chain,
        seed=model.seed,
        search_fn=None if search == "float32" else networks.logits_fn(model.network, search),
        batch_size=max(1, options.batch_size // REVERSE_SHARE),
        progress=progress,
    )
    yield Size(len(chosen.labels))
    yield from notes(kind, settings, result)
    yield f"{NAME}/{kind}/accuracy", result.accuracy
    if kind == "static":
        yield f"{NAME}/static/clean_accuracy", result.clean_accuracy
    if kind == "full_gradient":
        yield f"{NAME}/clean_accuracy", result.clean_accuracy
        attacked = np.flatnonzero(result.verdicts != MISCLASSIFIED)[: picture.SHOWN]
        if len(attacked):
            yield picture.figure(
                asked.logits_fn,
                model.variables,
                as_float(chosen.images[attacked]),
                result.points[attacked],
                chosen.labels[attacked],
                settings,
                model.class_names,
                kernel=model.generator.kernel,
                seed=model.seed,
            )


def notes(kind: str, settings: Purification, result: Result) -> Iterator[str]:
    """How to read the numbers."""
    yield (
        f"PGD, L_inf, eps 8/255 of [0, 1], {settings.attack_steps} steps of 2/255 from a random "
        f"start, on {len(result.verdicts):,} images; one stands if no step broke it."
    )
    if kind == "static":
        yield (
            "The network alone, to be compared with; AutoAttack's verdict on it, which is "
            "stronger, is robustness/autoattack/l_inf_8."
        )
    else:
        yield from _about_chains(kind, settings, result)
    if result.blind:
        yield (
            f"{result.blind:,} of {result.gradients:,} gradients were zero or no numbers: attacks "
            "by gradients are unreliable here."
        )


def _about_chains(kind: str, settings: Purification, result: Result) -> Iterator[str]:
    clips = "clips as trained" if settings.clip else "no clips"
    yield (
        f"Behind chains of {settings.num_steps:,} steps, sigma {settings.noise_std:g}, {clips}, "
        "batch norm in evaluation mode."
    )
    if not cost.is_random(settings):
        yield "Sigma is 0, so that all chains of an image are the same: one was run."
    else:
        yield (
            f"Logits averaged over {settings.attack_chains} chains in the attack and "
            f"{settings.verify_chains} fresh ones in its verification, which refuted "
            f"{result.refuted:,} points."
        )
    if kind == "bpda":
        yield (
            "The purifier's backward pass is taken for the identity: read it beside the full "
            "gradient's number, never alone."
        )


def _number(asked: Asked) -> int:
    return min(asked.options.purification.images, len(asked.passes.test.labels))


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
