"""A step's time on a card from its shapes alone, where its compiler is not installed.

The constants are upper ends of what the counter found in programs compiled with jax 0.11.2, from
WRN-10-1 to WRN-28-10 (docs/performance.md).
"""

from __future__ import annotations

import jax.numpy as jnp

from sadajem_jax.evaluation import flops
from sadajem_jax.gpu_program import roofline
from sadajem_jax.gpu_program.roofline import KERNEL_SECONDS, LAUNCH_SECONDS, Seconds
from sadajem_jax.gpu_program.targets import Target
from sadajem_jax.training.flops import forward_equivalents
from sadajem_jax.training.recipes import Recipe

TRAFFIC = 9.0  # bytes outside the convolutions, over those of the convolutions' outputs, a pass
CHAIN_KERNELS = 15  # a chain step's, for each layer of the network
SUMS = 0.37  # of that traffic
SMALL = 0.5  # of the kernels
PASS_KERNELS = 42  # of one pass of the objective over its three batches, and a share of the update
XLA_TYPES = {"bfloat16": "bf16", "float32": "f32"}


def passes(recipe: Recipe) -> int:
    """Passes of the objective in a step: SAM makes two."""
    return 2 if recipe.settings["sam.rho"] > 0 else 1


def seconds(recipe: Recipe, target: Target) -> Seconds:
    """The predicted time of a step on one card.

    Args:
      recipe: of the run.
      target: the card.
    """
    one = flops.forward(recipe.network, recipe.spec.image_shape)
    dtype = jnp.dtype(recipe.network.dtype)
    times, rho = passes(recipe), recipe.settings["sam.rho"]
    px, steps = recipe.batch_size_px, recipe.constants.num_steps
    if not recipe.constants.weights.px:  # a classifier's step has neither chains nor p(x) images
        px = steps = 0
    flop = forward_equivalents(px, recipe.batch_size_label, steps, rho) * one.flop
    images = steps * px + times * (2 * px + recipe.batch_size_label)
    moved = TRAFFIC * one.conv_outputs * dtype.itemsize * images
    kernels = recipe.network.depth * (CHAIN_KERNELS * steps + PASS_KERNELS * times)
    launched = kernels * recipe.constants.micro_batches
    return Seconds(
        convolutions=roofline.matrix(flop, XLA_TYPES[dtype.name], target),
        others=_others(moved, target) + SMALL * launched * KERNEL_SECONDS,
        launches=launched * LAUNCH_SECONDS,
    )


def _others(moved: float, target: Target) -> float:
    """Seconds of so many bytes outside the convolutions, a part of them in sums."""
    summed = roofline.memory(SUMS * moved, target, is_sum=True)
    return summed + roofline.memory((1 - SUMS) * moved, target)
