"""Repeated, interleaved timing with its spread, and the rate of a large matrix product."""

import datetime
import platform
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import backend

# A thread pool goes on spinning for some milliseconds after its last task, and would take a core
# from the program that is timed next.
PAUSE_SECONDS = 0.1


def seconds_of(call: Callable[[], Any]) -> float:
    """Wall-clock seconds of one `call()`, waiting for any jax array that it returns."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def interleave(
    calls: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each of `calls`, one call of each in every round: a slow spell hits them all.

    `warmup` rounds go first and are dropped; odd rounds run in reverse order.

    Raises:
      ValueError: `rounds` is below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, found {rounds}")
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(warmup + rounds):
        for name in list(calls) if turn % 2 == 0 else reversed(list(calls)):
            time.sleep(PAUSE_SECONDS)
            seconds[name].append(seconds_of(calls[name]))
    return {name: values[warmup:] for name, values in seconds.items()}


def spread(name: str, values: list[float]) -> dict[str, float]:
    """`name` (the median), and `name`_min, _q1, _q3, _max of `values`.

    >>> spread("seconds", [3.0, 1.0, 2.0])["seconds"]
    2.0
    """
    low, q1, median, q3, high = (float(q) for q in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    ends = {f"{name}_min": low, f"{name}_q1": q1, f"{name}_q3": q3, f"{name}_max": high}
    return {name: median} | ends


@partial(jax.jit, static_argnames="repeats")
def _products(a: jax.Array, x: jax.Array, repeats: int) -> jax.Array:
    for _ in range(repeats):
        x = a @ x
    return x


def matmul(dtype: str, size: int | None = None) -> tuple[Callable[[], jax.Array], float]:
    """A call that multiplies two [size, size] matrices of `dtype`, compiled, and its TFLOP.

    `size` is 2048 on a CPU and 8192 elsewhere unless given; off the CPU a call makes ten products,
    for a single one is too short to time. Precision is what the step gets: jax's default.
    """
    on_cpu = backend.on_cpu()
    size, repeats = size or (2048 if on_cpu else 8192), 1 if on_cpu else 10
    keys = jax.random.split(jax.random.key(0))
    # Scaled so that products keep their variance: zeros, infinities and NaN run at other speeds.
    a = jax.random.normal(keys[0], (size, size), dtype) * jnp.asarray(size**-0.5, dtype)
    x = jax.random.normal(keys[1], (size, size), dtype)
    call = partial(_products, a, x, repeats)
    jax.block_until_ready(call())
    return call, repeats * 2 * size**3 / 1e12


def matmul_tflops(dtype: str, rounds: int = 5, size: int | None = None) -> float:
    """Median rate of that matrix product on jax's default device, in TFLOP/s."""
    call, tflop = matmul(dtype, size)
    return tflop / float(np.median(interleave({"matmul": call}, rounds)["matmul"]))


def device_name() -> str:
    """The kind of jax's default device; for a CPU, with its name where the system tells."""
    kind = jax.devices()[0].device_kind
    if not backend.on_cpu():
        return kind
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{kind} ({models[0] if models else platform.machine()})"


def environment() -> dict[str, str]:
    """Where and when: device kind, jax version, matrix precision, UTC date."""
    config: Any = jax.config  # whose flags are not declared as attributes
    return {
        "device_kind": device_name(),
        "jax_version": jax.__version__,
        "matmul_precision": str(config.jax_default_matmul_precision or "default"),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
