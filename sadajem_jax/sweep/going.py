"""Goes through the runs of a sweep, one after another, whatever becomes of one."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import duration
from sadajem_jax.sweep import commands, progress
from sadajem_jax.sweep.grid import Run
from sadajem_jax.sweep.process import last_words
from sadajem_jax.sweep.progress import EVALUATION, TRAINING
from sadajem_jax.sweep.record import Record
from sadajem_jax.training.lock import training_lock

PATIENCE = 60.0  # seconds
STOPPED = -1  # in the record: left after a signal to the sweep

Execute = Callable[[Sequence[str], pathlib.Path], int]
"""(command, file for what it prints) -> exit status."""


class Failure(NamedTuple):
    """A run that did not come to its end, and why."""

    run: Run
    why: str


class Sweep:
    """Runs and resumes a sweep.

    Args:
      runs: all of them.
      root: where the record and what the runs print are kept.
      evaluates: whether an evaluation follows each training.
      execute: runs a command; may raise `process.Stopped`.
    """

    def __init__(
        self, runs: Sequence[Run], root: pathlib.Path, evaluates: bool, execute: Execute
    ) -> None:
        self.runs, self.root, self.evaluates, self._execute = runs, root, evaluates, execute
        self.record = Record(root)

    def go(self) -> list[Failure]:
        """Does all that is left, in order; returns what failed."""
        print(f"== {self.outlook()}", flush=True)
        failures: list[Failure] = []
        for number, run in enumerate(self.runs, start=1):
            if self.is_finished(run):
                continue
            print(f"== run {number} of {len(self.runs)}: {run.name}", flush=True)
            why = self._attempt(run)
            if why:
                failures.append(Failure(run, why))
                print(f"== {run.name} failed: {why}", flush=True)
            print(f"== {self.outlook(failures)}", flush=True)
        return failures

    def is_finished(self, run: Run) -> bool:
        """Whether nothing is left to do; what cannot be read is not."""
        try:
            return progress.is_finished(run, self.record, self.evaluates)
        except UserError:  # main says what is wrong with the folder
            return False

    def outlook(self, failures: Sequence[Failure] = ()) -> str:
        """What is finished, what is left and how long that will take."""
        failed = {failure.run.name for failure in failures}
        left = [run for run in self.runs if not self.is_finished(run) and run.name not in failed]
        done = len(self.runs) - len(left) - len(failed)
        words = [f"{len(self.runs)} runs: {done} finished", f"{len(left)} left"]
        words += [f"{len(failed)} failed"] if failed else []
        return ", ".join(words) + self._time(left)

    def _time(self, left: Sequence[Run]) -> str:
        if not left:
            return ""
        known = [run for run in self.runs if run in left or self.is_finished(run)]
        try:
            seconds = progress.seconds_left(known, self.record, self.evaluates)
        except UserError:
            seconds = None
        if seconds is None:
            return "; how long they take is known when the first is finished"
        return f"; about {duration(seconds)} left"

    def _attempt(self, run: Run) -> str:
        """As `_do`; what goes wrong here is that run's failure, too."""
        try:
            return self._do(run)
        except UserError as error:
            return str(error)
        except OSError as error:
            return f"{error.strerror or error} ({error.filename})"

    def _do(self, run: Run) -> str:
        """Trains and evaluates; returns why it failed, or ""."""
        stages = [(TRAINING, commands.training(run))]
        stages += [(EVALUATION, commands.evaluation(run))] if self.evaluates else []
        for stage, command in stages:
            if stage == TRAINING and self._is_trained(run):
                continue
            if stage == TRAINING:
                wait_for(run)
            status = self._stage(run, stage, command)
            if status:
                return f"{stage} ended with exit status {status}: {last_words(self.log(run))}"
        return ""

    def _is_trained(self, run: Run) -> bool:
        try:
            return progress.is_trained(run)
        except UserError:
            return False

    def _stage(self, run: Run, stage: str, command: Sequence[str]) -> int:
        start, status = time.time(), STOPPED
        try:
            status = self._execute(command, self.log(run))
        finally:  # what a stopped attempt took counts, too
            more = {"of": progress.evaluated(run)} if stage == EVALUATION else {}
            self.record.add(run.name, stage, time.time() - start, status, **more)
        return status

    def log(self, run: Run) -> pathlib.Path:
        """Where what a run prints is kept."""
        return self.root / f"{run.name}.txt"


def wait_for(run: Run, seconds: float = PATIENCE) -> None:
    """Waits for a training that still holds the folder, as after this sweep was killed.

    That one ends at its next line of output, which nobody hears; main says if it does not.
    """
    end, said = time.monotonic() + seconds, False
    while run.workdir.is_dir():
        try:
            with training_lock(run.workdir):
                return
        except UserError as error:
            if time.monotonic() > end:
                return
            if not said:
                print(f"== {error}", flush=True)
            said = True
            time.sleep(min(5.0, seconds))
