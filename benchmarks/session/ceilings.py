"""What the card reaches where nothing is in the way: the roofline's constants, measured.

    python -m benchmarks.session.ceilings

Prints one JSON line: `matmul_tflops` by type, of a large product; `copy_bytes_per_second`, reads
and writes of a large array; `launch_seconds`, of one small kernel in a row of dependent ones;
`platform`, device kind, versions, date.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from sadajem_jax import backend

ROUNDS, ROW, PASSES = 5, 300, 10


def main() -> None:
    """Prints the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    is_small = parser.parse_args().small
    size = 128 if is_small else None
    found: dict[str, Any] = {
        "matmul_tflops": {
            dtype: timing.matmul_tflops(dtype, ROUNDS, size) for dtype in ("bfloat16", "float32")
        },
        "copy_bytes_per_second": copy_rate(2**20 if is_small or backend.on_cpu() else 2**28),
        "launch_seconds": launch(10 if is_small else ROW),
    }
    print(json.dumps(found | timing.environment()), flush=True)


def copy_rate(elements: int) -> float:
    """Bytes a second, read and written, of passes over an array of float32."""

    @jax.jit
    def run(x: jax.Array) -> jax.Array:
        for _ in range(PASSES):
            x = jax.lax.optimization_barrier(x + 1)
        return x

    return 2 * 4 * elements * PASSES / best(partial(run, jnp.zeros(elements)))


def launch(count: int) -> float:
    """Seconds of one of so many dependent small kernels, each with its own work of about 1 us."""

    @jax.jit
    def run(x: jax.Array) -> jax.Array:
        for _ in range(count):
            x = jax.lax.optimization_barrier(jnp.roll(x, 1) + 1)
        return x

    return best(partial(run, jnp.zeros(1024))) / count


def best(call: Any) -> float:
    """The median time of a call, its compilation left out."""
    return float(np.median(timing.interleave({"call": call}, ROUNDS)["call"]))


if __name__ == "__main__":
    main()
