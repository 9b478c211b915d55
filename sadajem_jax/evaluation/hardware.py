"""What computes, in words."""

from __future__ import annotations

import functools
import os
import pathlib
import platform

import jax

from sadajem_jax.console import processes


@functools.cache
def hardware() -> str:
    """The devices by their kind; of a CPU its model and cores."""
    device = jax.local_devices()[0]
    count = jax.device_count()
    kind = device.device_kind if device.platform != "cpu" else _cpu()
    where = f" of {processes.count()} processes" if processes.count() > 1 else ""
    return f"{count} x {kind}{where}" if count > 1 else kind


def _cpu() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
