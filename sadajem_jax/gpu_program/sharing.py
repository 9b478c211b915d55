"""What several cards gain on a step, by arithmetic on one card's prediction.

Data-parallel: every card takes its part of both batches. Its convolutions and other kernels take
that part of the time, its launches all of it. Gradients are added up over the cards in float32,
once a pass; batch norm's moments are those of the whole batch, a message a layer and direction
(forward, and back), of which XLA merges some, unless each card has norm groups of its own.
Optimistic: kernels of a part of a batch fill a card less well, and what the optimizer moves is not
shared.
"""

from __future__ import annotations

from sadajem_jax.gpu_program import estimate, roofline
from sadajem_jax.gpu_program.roofline import Seconds
from sadajem_jax.gpu_program.targets import Target
from sadajem_jax.training import memory
from sadajem_jax.training.recipes import Recipe

# A layer's in a pass over three batches, where six would be needed one by one: WRN-10-1 compiled
# for eight cards with jax 0.11.2 has 24 a pass for its seven layers.
PASS_MESSAGES = 24 / 7


def shared(one: Seconds, recipe: Recipe, target: Target, devices: int) -> Seconds:
    """A step's predicted time where so many cards share its batches.

    Args:
      one: the same step's on one card.
      recipe: of the run.
      target: the card.
      devices: how many; those of a machine are linked as `target` says, machines as
        `roofline.BETWEEN_MACHINES`.
    """
    return Seconds(
        convolutions=one.convolutions / devices,
        others=one.others / devices,
        launches=one.launches,
        messages=messages(recipe, target, devices),
    )


def messages(recipe: Recipe, target: Target, devices: int) -> float:
    """Seconds of a step's messages: gradients once a pass, and moments."""
    gradient = 4 * memory.parameters(recipe)
    added = roofline.message("all-reduce", gradient, target, devices)
    return estimate.passes(recipe) * added + moments(recipe, devices) * roofline.MESSAGE_SECONDS


def moments(recipe: Recipe, devices: int) -> float:
    """Messages of batch norm in a step, forward and back."""
    own = recipe.constants.shares.norm_groups % devices == 0
    if recipe.settings["model.norm"] != "batch" or own:
        return 0
    layers = recipe.network.depth - 3  # two a block, one at the end
    return layers * (2 * recipe.constants.num_steps + PASS_MESSAGES * estimate.passes(recipe))
