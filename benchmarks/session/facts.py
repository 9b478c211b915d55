"""What the machine is: driver, card, versions, as one JSON line.

python -m benchmarks.session.facts
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
from typing import Any

import jax

from benchmarks import timing

QUERY = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.max.mem"
PACKAGES = ("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax", "torch", "numpy")


def main() -> None:
    """Prints the line."""
    device = jax.local_devices()[0]
    found: dict[str, Any] = {
        **timing.environment(),
        "platform": device.platform,
        "devices": jax.local_device_count(),
        "bytes_limit": (device.memory_stats() or {}).get("bytes_limit"),
        "nvidia_smi": nvidia_smi(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }
    print(json.dumps(found), flush=True)


def versions() -> dict[str, str]:
    """Of the packages that matter here, where they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def nvidia_smi() -> list[dict[str, str]]:
    """What the driver says of each card; nothing where there is none."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    names = QUERY.split(",")
    rows = [line.split(", ") for line in done.stdout.splitlines() if done.returncode == 0]
    return [dict(zip(names, row, strict=False)) for row in rows]


if __name__ == "__main__":
    main()
