"""`config.deterministic`: on a GPU, resuming to the bit.

XLA is then asked for deterministic operations, and the results of its autotuning are kept in the
workdir, so that a later process picks the same kernels. On the CPU a run is always so.
"""

from __future__ import annotations

import pathlib

from sadajem_jax.console import xla_flags


def apply(workdir: pathlib.Path) -> None:
    """Sets XLA_FLAGS; to be called before JAX first touches a device.

    Args:
      workdir: W; W/autotune.textproto is written by the first process and read by later ones.
    """
    kept = (workdir / "autotune.textproto").absolute()
    way = "load_autotune_results_from" if kept.exists() else "dump_autotune_results_to"
    xla_flags.add("--xla_gpu_deterministic_ops=true", f"--xla_gpu_{way}={kept}")
