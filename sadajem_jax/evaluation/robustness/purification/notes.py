"""How to read the numbers of the purified classifier, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sadajem_jax.evaluation.robustness.purification import cost
from sadajem_jax.evaluation.robustness.purification.campaign import Result
from sadajem_jax.evaluation.robustness.purification.presets import Purification


def static(settings: Purification, result: Result) -> Iterator[str]:
    """Of the network alone."""
    yield _protocol(settings, result)
    yield (
        "The network alone, to be compared with; AutoAttack's verdict on it, which is stronger, is "
        "robustness/autoattack/l_inf_8."
    )
    yield from _about_gradients("static", result)


def chain(settings: Purification, results: Mapping[str, Result]) -> Iterator[str]:
    """Of the classifier behind its chain.

    Args:
      settings: of the attacks by gradients.
      results: of each attack on it, by name.
    """
    yield _protocol(settings, next(iter(results.values())))
    yield from _about_chains(settings, sum(result.refuted for result in results.values()))
    yield (
        "robustness/purified/accuracy is the worst case: the share that stands under the full "
        "gradient, under BPDA, and where the same PGD on the network alone ended (transfer)."
    )
    yield (
        "BPDA takes the purifier's backward pass for the identity: read it beside the full "
        "gradient's number, never alone."
    )
    for name, result in results.items():
        yield from _about_gradients(name, result)


def _protocol(settings: Purification, result: Result) -> str:
    return (
        f"PGD, L_inf, eps 8/255 of [0, 1], {settings.attack_steps} steps of 2/255 from a random "
        f"start, on {len(result.verdicts):,} images; one stands if no step broke it."
    )


def _about_chains(settings: Purification, refuted: int) -> Iterator[str]:
    clips = "clips as trained" if settings.clip else "no clips"
    yield (
        f"Behind chains of {settings.num_steps:,} steps, sigma {settings.noise_std:g}, {clips}, "
        "batch norm in evaluation mode."
    )
    if not cost.is_random(settings):
        yield "Sigma is 0, so that all chains of an image are the same: one was run."
    else:
        yield (
            f"Logits averaged over {settings.attack_chains} chains in the attacks and "
            f"{settings.verify_chains} fresh ones in their verification, which refuted {refuted:,} "
            "points."
        )


def _about_gradients(name: str, result: Result) -> Iterator[str]:
    if result.blind:
        yield (
            f"{name}: {result.blind:,} of {result.gradients:,} gradients were zero or no numbers: "
            "attacks by gradients are unreliable here."
        )
