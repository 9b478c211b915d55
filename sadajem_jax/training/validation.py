"""Evaluates while a run trains, and keeps the best model judged on held-out images."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from sadajem_jax.console.processes import of_first
from sadajem_jax.train_state import TrainState
from sadajem_jax.workdir import files
from sadajem_jax.workdir.best import JUDGE, Best


class Validator:
    """Evaluates every `every_steps` and at the end, and keeps the best if images are held out.

    Writes W/eval_metrics.jsonl and, where the validation accuracy is the highest so far, W/best/.

    Args:
      workdir: W.
      step: where the run begins or goes on; what was logged of later steps is cut off.
      light: state -> {name: value}; val/* where images are held out, test/* else: those are to be
        looked at, and nothing is chosen by them.
      tell: takes (step, what was found), in a log of the run.
      every_steps: 0 means never.
      total_steps: length of the run, whose last step may be the best.
      judges: whether images are held out.
      notes: what every checkpoint of the run carries.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        step: int,
        light: Callable[[TrainState], dict[str, float]],
        *,
        tell: Callable[[int, Mapping[str, float]], None],
        every_steps: int,
        total_steps: int,
        judges: bool,
        notes: Mapping[str, Any],
    ) -> None:
        self.light, self.tell = light, tell
        self.every_steps, self.total_steps = every_steps, total_steps
        self.jsonl = workdir / "eval_metrics.jsonl"
        of_first(lambda: files.truncate_json_lines(self.jsonl, step))
        self.best = Best(workdir, notes) if every_steps and judges else None

    def next_step(self, step: int) -> int:
        """The next step after `step` that is evaluated; far away if none is."""
        if not self.every_steps:
            return 2**62
        following = step - step % self.every_steps + self.every_steps
        return min(following, self.total_steps) if step < self.total_steps else following

    def __call__(self, step: int, state: TrainState) -> None:
        """Evaluates at `step`, logs, and keeps the state if it is the best."""
        found = self.light(state)
        of_first(lambda: files.append_json_line(self.jsonl, {"step": step, **found}))
        self.tell(step, found)
        if self.best is not None:
            self.best.offer(step, state, found[JUDGE])

    def close(self) -> None:
        """Returns when the best model is on the disk; raises UserError if it could not be."""
        if self.best is not None:
            self.best.close()
