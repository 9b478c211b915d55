"""What several cards gain on a step, by arithmetic on one card's prediction.

Data-parallel: every card takes its part of both batches. Its convolutions and other kernels take
that part of the time; whole are the launches, and what moves parameters alone: casts, norms, the
optimizer. Gradients are added up over the cards in float32, once a pass; batch norm's moments are
those of the whole batch, a message a layer and direction (forward, and back) with small kernels
around it, unless each card has norm groups of its own. Nothing overlaps. Held against programs
compiled for 8 and 64 cards, see docs/performance.md; optimistic where kernels of a part of a batch
fill a card less well.
"""

from __future__ import annotations

from sadajem_jax.gpu_program import estimate, roofline
from sadajem_jax.gpu_program.roofline import KERNEL_SECONDS, LAUNCH_SECONDS, Seconds
from sadajem_jax.gpu_program.targets import Target
from sadajem_jax.training import memory
from sadajem_jax.training.recipes import Recipe

# WRN-10-1 and WRN-28-10 compiled for eight cards with jax 0.11.2.
PASS_MESSAGES = 2  # a layer's, of a pass over three batches, as XLA merges them
GRADIENT_MESSAGES = 7  # that XLA puts a pass's gradients into
AROUND = 4  # small kernels around a message of moments
UNSHARED = 57  # times that a step moves all parameters, in float32, whatever the batch


def shared(one: Seconds, recipe: Recipe, target: Target, devices: int) -> Seconds:
    """A step's predicted time where so many cards share its batches.

    Args:
      one: the same step's on one card.
      recipe: of the run.
      target: the card.
      devices: how many; those of a machine are linked as `target` says, machines as
        `roofline.BETWEEN_MACHINES`.
    """
    if devices == 1:
        return one
    around = AROUND * moments(recipe, devices)
    whole = min(one.others, unshared(one, recipe, target))
    return Seconds(
        convolutions=one.convolutions / devices,
        others=whole + (one.others - whole) / devices + around * KERNEL_SECONDS,
        launches=one.launches + around * LAUNCH_SECONDS,
        messages=messages(recipe, target, devices),
    )


def unshared(one: Seconds, recipe: Recipe, target: Target) -> float:
    """Seconds of what no card is spared: moving parameters, and the small half of the kernels."""
    moved = roofline.memory(UNSHARED * 4 * memory.parameters(recipe), target)
    return moved + one.launches / LAUNCH_SECONDS / 2 * KERNEL_SECONDS


def messages(recipe: Recipe, target: Target, devices: int) -> float:
    """Seconds of a step's messages: gradients once a pass, and moments."""
    gradient = 4 * memory.parameters(recipe)
    added = roofline.message("all-reduce", gradient, target, devices)
    added += (GRADIENT_MESSAGES - 1) * roofline.latency(devices)
    return estimate.passes(recipe) * added + moments(recipe, devices) * roofline.latency(devices)


def moments(recipe: Recipe, devices: int) -> float:
    """Messages of batch norm in a step, forward and back."""
    own = recipe.constants.shares.norm_groups % devices == 0
    if recipe.settings["model.norm"] != "batch" or own:
        return 0
    layers = recipe.network.depth - 3  # two a block, one at the end
    return layers * (2 * recipe.constants.num_steps + PASS_MESSAGES * estimate.passes(recipe))
