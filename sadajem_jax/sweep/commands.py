"""The command lines of a run: main.py's, in a process of their own."""

from __future__ import annotations

import pathlib
import shlex
import sys
from collections.abc import Sequence

from sadajem_jax.sweep.grid import Run

MAIN = pathlib.Path(__file__).resolve().parents[2] / "main.py"


def program() -> list[str]:
    """What runs main with this very Python: an installed program has no main.py beside it."""
    return [sys.executable, *([str(MAIN)] if MAIN.is_file() else ["-m", "sadajem_jax"])]


def training(run: Run) -> list[str]:
    """Trains the run, or goes on with it."""
    fields = [f"--config.{field}={value}" for field, value in run.overrides.items()]
    return [*program(), f"--config={run.config}", f"--workdir={run.workdir}", *fields]


def evaluation(run: Run) -> list[str]:
    """Evaluates the run: what was done before is not done again."""
    free = {f: v for f, v in run.overrides.items() if f.startswith("eval.") or f == "data.data_dir"}
    fields = [f"--config.{field}={value}" for field, value in free.items()]
    return [*program(), "--mode=eval", f"--workdir={run.workdir}", *fields]


def all_of(run: Run, evaluates: bool) -> list[list[str]]:
    """The commands of a run, in order."""
    return [training(run), evaluation(run)] if evaluates else [training(run)]


def line(commands: Sequence[Sequence[str]]) -> str:
    """As a shell takes them: the next only if the one before went well."""
    return " && ".join(map(shlex.join, commands))
