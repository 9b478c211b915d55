"""Sweeps whose trainings are made up: a stand-in for processes, and folders as main leaves them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

from sadajem_jax.sweep import command, grid
from sadajem_jax.sweep.grid import Run
from sadajem_jax.workdir import files, records
from sadajem_jax.workdir import settings as run_settings

TINY = ["--config=configs/digits.py", "--config.train.num_steps=20"]


def begun(argv: Sequence[str]) -> list[Run]:
    """The runs of a command line."""
    options, overrides = command._read(argv)
    root = pathlib.Path(options.root)
    return grid.runs(options.config, grid.read(options.grid), options.seeds, overrides, root)


def finished(run: Run, steps: int = 20) -> None:
    """Leaves what a training leaves at its end."""
    run.workdir.mkdir(parents=True, exist_ok=True)
    run_settings.write(run.workdir, run.settings)
    numbers = {"test/accuracy": 0.5, "test/nll": 1.0, "train/steps": steps}
    records.merge_metrics(run.workdir, numbers, records.by_training(steps))


class Main:
    """Stands in for processes of main.py.

    Args:
      runs: of the sweep.
      then: (run, stage) -> exit status, called for each; it may raise.

    Attributes:
      done: the names and stages that were run, in order.
    """

    def __init__(self, runs: Sequence[Run], then: Callable[[Run, str], int]) -> None:
        self.runs, self.then = {f"--workdir={run.workdir}": run for run in runs}, then
        self.done: list[tuple[str, str]] = []

    def __call__(self, argv: Sequence[str], log: pathlib.Path) -> int:
        """Does the command's work."""
        (run,) = (self.runs[word] for word in argv if word in self.runs)
        stage = "evaluation" if "--mode=eval" in argv else "training"
        self.done.append((run.name, stage))
        files.write_text_atomically(log, "step 1\nerror: it is broken\n")
        status = self.then(run, stage)
        if status == 0 and stage == "training":
            finished(run)
        return status
