"""A compiled block, read: what is to be said of it by name."""

from __future__ import annotations

from typing import Any

from sadajem_jax.gpu_program import counts, hlo, kernels, roofline
from sadajem_jax.gpu_program.absent import Compiled
from sadajem_jax.gpu_program.targets import Target


def line(compiled: Compiled, target: Target, num_sgld_steps: int, devices: int = 1) -> dict:
    """The counts of a step on each device, its memory and its predicted time.

    Args:
      compiled: the block.
      target: the card that it is compiled for.
      num_sgld_steps: K.
      devices: that share the work.
    """
    launched = kernels.of(hlo.parse(compiled.text))
    seconds = roofline.of(launched, target, devices)
    found: dict[str, Any] = counts.of(launched, num_sgld_steps)
    return found | {
        "temp_bytes": compiled.temp_bytes,
        "argument_bytes": compiled.argument_bytes,
        "total_bytes": compiled.total_bytes,
        "predicted_step_seconds": seconds.total,
        "predicted_seconds_of": seconds._asdict(),
    }
