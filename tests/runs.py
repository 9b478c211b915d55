"""Small runs of main for the tests: one command line, and what a run left."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import jax
import numpy as np

from sadajem_jax.workdir.checkpoint import Checkpoints
from tests import places

# Without SAM, whose second pass takes half as long again to compile: who needs it, says so.
TINY = {
    "sam.rho": 0.0,
    "train.num_steps": 40,
    "train.batch_size_px": 8,
    "train.batch_size_label": 16,
    "model.width": 1,
    "sgld.num_steps": 1,
    "buffer.size": 40,
    "checkpoint.every_steps": 7,
    "log.every_steps": 1,
    "log.samples_every_steps": 20,
}


def command(workdir: pathlib.Path, **overrides: Any) -> list[str]:
    """Flags of a tiny run on the digits; overrides by field, a double underscore for the dot."""
    fields = TINY | {name.replace("__", "."): value for name, value in overrides.items()}
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    return ["--config=configs/digits.py", f"--workdir={workdir}", *flags]


def start(
    argv: list[str], *, max_file_bytes: int | None = None, cache: bool = True
) -> subprocess.Popen[str]:
    """Runs main in a process of its own.

    Args:
      argv: its flags.
      max_file_bytes: no file may grow beyond, if given.
      cache: whether compiled programs are taken from the cache.
    """
    limit = [] if max_file_bytes is None else ["prlimit", f"--fsize={max_file_bytes}"]
    return subprocess.Popen(
        [*limit, sys.executable, "main.py", *argv],
        cwd=places.ROOT,
        text=True,
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": str(cache).lower()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Waits for a process that is to end well; returns what it printed."""
    out, error = process.communicate()
    assert process.returncode == 0, error
    return out


def logged_steps(workdir: pathlib.Path) -> list[int]:
    """Steps of W/train_metrics.jsonl; a line still being written is left out."""
    path = workdir / "train_metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line)["step"] for line in lines]


def final_state(workdir: pathlib.Path) -> dict[str, Any]:
    """The last checkpoint's state, nested by the names of TrainState's fields."""
    return state_of(workdir, -1)


def state_of(workdir: pathlib.Path, number: int) -> dict[str, Any]:
    """The state of the checkpoint of that number, in the order of their steps."""
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    return checkpoints.read(checkpoints.steps()[number]).state


def assert_same_bits(one: Any, other: Any) -> None:
    """Every leaf of two states, bit by bit."""
    assert str(jax.tree.structure(one)) == str(jax.tree.structure(other))
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True
    ):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), jax.tree_util.keystr(path)
