"""What a run takes on a card: from its compiled program where it can be had, else from shapes."""

from __future__ import annotations

import os
from typing import NamedTuple

from sadajem_jax.gpu_program import absent, estimate, hlo, kernels, program, roofline, sharing
from sadajem_jax.gpu_program.roofline import Seconds
from sadajem_jax.gpu_program.targets import Target
from sadajem_jax.training import memory
from sadajem_jax.training.recipes import Recipe

# JAX takes this share of a card's memory at its start, unless the variable says another.
SHARE_VARIABLE, SHARE = "XLA_PYTHON_CLIENT_MEM_FRACTION", 0.75

# Bytes of WRN-28-10, 64/128, K = 10 on an H100: XLA's count, and the peak that was measured. In
# bfloat16 the two were equal. See docs/performance.md, "On a card".
FLOAT32_MEASURED = (6.50e9, 11.87e9)


class Prediction(NamedTuple):
    """A step on a card.

    Attributes:
      is_compiled: whether XLA's program was read; else both are estimates.
      bytes: what it keeps in the card's memory.
      seconds: its time.
    """

    is_compiled: bool
    bytes: int
    seconds: Seconds


def of(recipe: Recipe, target: Target) -> Prediction:
    """The prediction for one card, compiled for it if JAX's CUDA packages are installed."""
    made = program.in_gpu_form(recipe)
    if not absent.is_installed():
        return Prediction(False, memory.estimate(made).total, estimate.seconds(made, target))
    compiled = absent.compiled(made, target)
    launched = kernels.of(hlo.parse(compiled.text))
    return Prediction(True, compiled.total_bytes, roofline.of(launched, target))


def of_part(recipe: Recipe, target: Target, devices: int) -> Prediction:
    """The prediction for one of several cards that share the batches, from shapes."""
    made = program.in_gpu_form(absent.shared(recipe, devices))
    seconds = sharing.shared(estimate.seconds(made, target), made, target, devices)
    return Prediction(False, memory.estimate(made).total, seconds)


def usable(target: Target) -> int:
    """Bytes of a card that JAX takes for its arrays."""
    return int(target.memory_bytes * float(os.environ.get(SHARE_VARIABLE, SHARE)))
