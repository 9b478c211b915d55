"""What a run keeps in a device's memory, estimated from its shapes before anything is compiled.

Of what several devices share out each has its part, see `sharding`.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation import flops
from sadajem_jax.training.recipes import Recipe

# Bytes that a pass keeps, over the bytes of the convolutions' outputs. XLA's own analysis of the
# CPU step, unrolled, gave 2.5 to 2.8 for WRN-10-1, 10-4 and 16-4 at several batches; of the looped
# one, compiled for an H100, 1.6 to 1.9 from WRN-10-1 to 28-10 in both types.
KEPT_UNROLLED, KEPT_LOOPED = 2.7, 1.9
REFUSE = 0.8  # a run is refused only where even this share of the estimate does not fit


class Memory(NamedTuple):
    """Estimated bytes of a step.

    Attributes:
      fixed: parameters, gradients, momentum, perturbed parameters; buffer; data set.
      passes: what the largest pass keeps for its gradient.
    """

    fixed: int
    passes: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.fixed + self.passes


def check(recipe: Recipe) -> None:
    """Refuses a run whose memory cannot fit, before anything is compiled.

    Raises:
      UserError: with the largest batches that would.
    """
    memory, limit = estimate(recipe), device_memory()
    if fits(memory, limit):
        return
    px, label = largest_batches(recipe, memory, limit)
    way = "set config.train.micro_batches"  # which are for one device
    advice = (
        f"the largest batches that would: config.train.batch_size_px={px} and "
        f"config.train.batch_size_label={label}; or "
        f"{way if recipe.constants.shares.parts == 1 else 'take more devices'}"
        if px
        else "even the smallest batch does not: take a smaller network"
    )
    raise UserError(
        f"a step needs about {gib(memory.total)} and the device has {gib(limit)}: {advice}"
    )


def fits(memory: Memory, limit: int) -> bool:
    """Whether a run may be tried: the estimate is no more than that."""
    return memory.total * REFUSE <= limit


def largest_batches(recipe: Recipe, memory: Memory, limit: int) -> tuple[int, int]:
    """(batch_size_px, batch_size_label) in the recipe's ratio that fit; (0, 0) if none do."""
    share, shards = (limit / REFUSE - memory.fixed) / memory.passes, recipe.constants.num_shards
    px = int(recipe.batch_size_px * max(share, 0)) // shards * shards
    return px, px * recipe.batch_size_label // recipe.batch_size_px


def parameters(recipe: Recipe) -> int:
    """Number of parameters, without the running statistics."""
    image = jax.ShapeDtypeStruct((1, *recipe.spec.image_shape), jnp.float32)
    variables = jax.eval_shape(recipe.network.init, jax.random.key(0), image)
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(variables["params"]))


def estimate(recipe: Recipe) -> Memory:
    """Bytes of a step, from the shapes alone."""
    pixels = int(np.prod(recipe.spec.image_shape))
    copies = 4 if recipe.settings["sam.rho"] > 0 else 3
    copies += 1 if recipe.constants.ema_decay > 0 else 0
    copies += 1 if recipe.settings["train.optimizer"] == "adam" else 0
    devices = recipe.constants.shares.parts
    fixed = 4 * copies * parameters(recipe) + 4 * recipe.buffer_size * pixels // devices
    fixed += (recipe.spec.num_train - recipe.val_size) * pixels
    of_px = 2 * recipe.batch_size_px if recipe.constants.weights.px else 0
    images = of_px + recipe.batch_size_label
    outputs = flops.forward(recipe.network, recipe.spec.image_shape).conv_outputs
    itemsize = jnp.dtype(recipe.network.dtype).itemsize
    parts = recipe.constants.micro_batches * devices
    kept = KEPT_UNROLLED if recipe.constants.unroll else KEPT_LOOPED
    return Memory(fixed, int(kept * outputs * itemsize * (images // parts)))


def device_memory() -> int:
    """Bytes of the first device; on the CPU of the machine."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def gib(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 2**30:.2f} GiB"
