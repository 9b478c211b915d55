"""What an attack on a purified classifier takes, in passes of the network, by operations.

For n images, K chain steps, T steps of PGD, r chains that search and v that verify, in gradients of
one image (a chain step is one; see `purifier.gradients_a_step` for the way back through it):

    the clean images             n v K
    the search, full gradient    n (T + 1) r (g K + 1),  g = 3, or 4 where segments have many steps
    the search, BPDA             n (T + 1) r (K + 1)
    the verification             n (T + 1) v K at most

and v, r and v forward passes of each image beside them, that give the logits behind the chains. The
last of the T + 1 takes no gradient. A verification is due only where the search's chains are
wrong, most often once an image, at the end; without noise it is due once at most.
"""

from __future__ import annotations

from typing import NamedTuple

from sadajem_jax.evaluation.costs import Cost, total
from sadajem_jax.evaluation.robustness.purification.presets import Purification
from sadajem_jax.evaluation.robustness.purification.purifier import gradients_a_step, segments


class Chains(NamedTuple):
    """How many chains of an image are run: those that search, and those that verify."""

    attack: int
    verify: int


def chains(settings: Purification) -> Chains:
    """As many as were asked for; one where all are the same, since they have no noise."""
    if is_random(settings):
        return Chains(settings.attack_chains, settings.verify_chains)
    return Chains(1, 1)


def is_random(settings: Purification) -> bool:
    """Whether two chains of an image differ."""
    return settings.noise_std > 0 and settings.num_steps > 0


def judging(settings: Purification) -> Cost:
    """Of the clean images, or of one verification: an image."""
    number = chains(settings).verify
    return Cost(forwards=number, gradients=number * settings.num_steps)


def searching(settings: Purification, *, through_chain: bool, segment: int | None = None) -> Cost:
    """Of one step of PGD with its gradient: an image."""
    number, passes = chains(settings).attack, settings.num_steps
    if through_chain:
        passes = sum(n * gradients_a_step(n) for _, n in segments(settings.num_steps, segment))
    return Cost(forwards=number, gradients=number * (passes + 1))


def stage(settings: Purification, *, through_chain: bool, segment: int | None = None) -> Cost:
    """Of one step of PGD and a verification of where it stands: an image, at most."""
    search = searching(settings, through_chain=through_chain, segment=segment)
    return total([search, judging(settings)])


def attack(
    settings: Purification, images: int, *, through_chain: bool, segment: int | None = None
) -> Cost:
    """Of all of an attack, at most."""
    steps = settings.attack_steps + 1
    search = searching(settings, through_chain=through_chain, segment=segment)
    judged = 1 + (steps if is_random(settings) else 1)
    each = total([search] * steps + [judging(settings)] * judged)
    return Cost(forwards=images * each.forwards, gradients=images * each.gradients)
