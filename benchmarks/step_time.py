"""Seconds of one training step, as one JSON line on stdout.

    python -m benchmarks.step_time --depth 28 --width 10 --dtype bfloat16

Fields: the settings; `step_seconds` (median) with `_min`, `_q1`, `_q3`, `_max` over `rounds`
steps; `compile_seconds` (without a compilation cache); `peak_bytes`; `step_tflop`, counted from the
shapes; `tflop_per_second`; `matmul_tflops`, the rate of a large matrix product timed in the same
rounds, and `matmul_share`, the step's rate over it; device kind, jax version, date.
"""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import flags, jax_step, timing
from sadajem_jax.training import flops
from sadajem_jax.wide_resnet import WideResNet


def peak_bytes(memory_analysis: Any | None) -> int | None:
    """Peak device memory so far, in bytes, or where the device does not tell, the step's own need.

    That need is that of the compiled program. None where neither is known.
    """
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use") or peak_bytes_of_program(memory_analysis)


def peak_bytes_of_program(memory_analysis: Any | None) -> int | None:
    """Arguments, outputs and temporaries of a compiled program, donated arguments counted once."""
    if memory_analysis is None:
        return None
    sizes = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")
    total = sum(getattr(memory_analysis, size) for size in sizes)
    return total - memory_analysis.alias_size_in_bytes


def step_tflop(depth: int, width: int, image_size: int, dtype: str, **sizes: Any) -> float:
    """Operations of the step with these settings, which no precision changes."""
    network = WideResNet(depth, width, jax_step.NUM_CLASSES, dtype=dtype)
    return flops.step_tflop(network, (image_size, image_size, 3), **sizes)


def measure(settings: dict, rounds: int) -> dict:
    """Builds and times the step; `settings` are the keyword arguments of `jax_step.build`."""
    step, compile_seconds, memory_analysis = jax_step.build(**settings)
    jax.block_until_ready(step())
    peak = peak_bytes(memory_analysis)  # before the matrix product, which would add to it
    product, product_tflop = timing.matmul(settings["dtype"])
    seconds = timing.interleave({"step": step, "matmul": product}, rounds)
    timed = timing.spread("step_seconds", seconds["step"])
    tflop = step_tflop(**settings)
    rate = tflop / timed["step_seconds"]
    matmul_rate = product_tflop / float(np.median(seconds["matmul"]))
    found = {"compile_seconds": compile_seconds, "peak_bytes": peak, "step_tflop": tflop}
    found |= {"tflop_per_second": rate, "matmul_tflops": matmul_rate}
    return timed | found | {"matmul_share": rate / matmul_rate}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the one line."""
    settings, rounds = flags.parse(__doc__.splitlines()[0], argv)
    jax.config.update("jax_enable_compilation_cache", False)  # compile_seconds means compiling
    result = settings | {"rounds": rounds} | measure(settings, rounds)
    print(json.dumps(result | timing.environment()), flush=True)


if __name__ == "__main__":
    main()
