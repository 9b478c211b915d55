"""W/best: the model of the highest accuracy on held-out images, never judged on the test set."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from sadajem_jax.console import processes
from sadajem_jax.console.processes import of_first
from sadajem_jax.workdir.checkpoint import Checkpoints, Damaged, Stored

logger = logging.getLogger(__name__)

JUDGE = "val/accuracy"


class Best:
    """The best model so far, as a training keeps it.

    What an abandoned attempt left stays until a better one comes: it is the best there is.

    Args:
      workdir: W.
      notes: what every checkpoint of the run carries.
    """

    def __init__(self, workdir: pathlib.Path, notes: Mapping[str, Any]) -> None:
        self._checkpoints, self._notes = Checkpoints(workdir / "best"), dict(notes)
        for step in of_first(self._damaged):  # they must not outrank what can be read
            self._checkpoints.delete(step)

    def _damaged(self) -> list[int]:
        """Those that cannot be read, each of which is reported."""
        found = {step: _problem(self._checkpoints, step) for step in self._checkpoints.steps()}
        for step, problem in found.items():
            if problem:
                logger.warning(
                    "the best model, of step %d, is damaged (%s): removed", step, problem
                )
        return [step for step, problem in found.items() if problem]

    def offer(self, step: int, state: Any, accuracy: float) -> None:
        """Keeps the state if its accuracy is above the best there is; the one before goes after.

        Raises:
          UserError: if it cannot be written.
        """
        before = of_first(lambda: max(_judged(self._checkpoints).values(), default=-1.0))
        if accuracy <= before:
            return
        if step in self._checkpoints.steps():  # made before, with other bits: one name, one state
            self._checkpoints.delete(step)
        self._checkpoints.save(step, state, **self._notes, **{JUDGE: accuracy})
        self._checkpoints.wait()  # it is the best only when it is there
        for old in self._checkpoints.steps():
            if old != step:
                self._checkpoints.delete(old)

    def close(self) -> None:
        """Waits, and stops the background threads."""
        self._checkpoints.close()


def read(workdir: pathlib.Path) -> Stored | None:
    """The best model that can be read; None where W keeps none.

    A damaged one is reported and skipped. Of the processes of a run the first finds out which it
    is, and all read it.

    Raises:
      UserError: if a later version of the program wrote it.
    """
    if processes.is_alone():
        return _highest(workdir)

    def step_of_first() -> int | None:
        found = _highest(workdir)
        return None if found is None else found.step

    step = of_first(step_of_first)
    return None if step is None else _opened(workdir).read(step)


def _highest(workdir: pathlib.Path) -> Stored | None:
    if not (workdir / "best").is_dir():
        return None
    checkpoints = _opened(workdir)
    ranked = sorted(_judged(checkpoints).items(), key=lambda item: (-item[1], item[0]))
    for step, _ in ranked:
        try:
            return checkpoints.read(step)
        except Damaged as error:
            logger.warning("the best model, of step %d, is damaged (%s)", step, error)
    return None


def _opened(workdir: pathlib.Path) -> Checkpoints:
    return Checkpoints(workdir / "best", read_only=True)


def _problem(checkpoints: Checkpoints, step: int) -> str:
    """What is wrong with a checkpoint, "" if it can be read."""
    try:
        checkpoints.read(step)
    except Damaged as error:
        return str(error)
    return ""


def _judged(checkpoints: Checkpoints) -> dict[int, float]:
    """{step: accuracy} of those whose notes can be read."""
    found = {step: checkpoints.notes(step).get(JUDGE) for step in checkpoints.steps()}
    return {step: float(accuracy) for step, accuracy in found.items() if accuracy is not None}
