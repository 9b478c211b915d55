"""The folder of a run, made ready."""

from __future__ import annotations

import os
import pathlib
import tempfile

from sadajem_jax.console.errors import UserError

# What a run's results are in, besides its checkpoints.
RESULTS = ("best", "restarts.json", "metrics.json", "metrics_provenance.json", "evaluation.json")


def set_aside(workdir: pathlib.Path) -> None:
    """Moves what a run left whose checkpoints are gone into a folder of its own, and says so.

    Without them nothing tells which run it was: a new run must not pass it off as its own.
    """
    found = [workdir / name for name in RESULTS if (workdir / name).exists()]
    if not found:
        return
    number = 1 + sum(1 for _ in workdir.glob("earlier_*"))
    aside = workdir / f"earlier_{number}"
    aside.mkdir()
    for path in found:
        path.rename(aside / path.name)
    print(f"results of an earlier run, whose checkpoints are gone, are now in {aside}", flush=True)


def last_step(workdir: pathlib.Path) -> str:
    """Which the last checkpoint in W is, as an error says it; nothing where there is none."""
    steps = [int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdecimal()]
    return f" (step {max(steps):,})" if steps else ""


def prepare(workdir: pathlib.Path) -> None:
    """Creates the folder, and finds out now whether it can be written.

    Raises:
      UserError: if it is a file, cannot be created or cannot be written.
    """
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir must be a folder, found the file {workdir}")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be written ({os.strerror(error.errno or 0)}): give another"
        ) from error
