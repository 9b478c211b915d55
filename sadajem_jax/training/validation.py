"""Training images held out, and the best model judged on them: never on the test set."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import ml_collections
import numpy as np

from sadajem_jax.data.loading import Images
from sadajem_jax.train_state import TrainState
from sadajem_jax.workdir import files
from sadajem_jax.workdir.checkpoint import Checkpoints

SHUFFLE = 20_230_618  # always the same images, whatever the run's seed


def hold_out(images: Images, val_size: int) -> tuple[Images, Images]:
    """(training images, validation images): a fixed shuffle's last `val_size` are held out."""
    if val_size == 0:
        return images, Images(images.images[:0], images.labels[:0])
    order = np.random.default_rng(SHUFFLE).permutation(len(images.labels))
    kept, held = np.sort(order[:-val_size]), np.sort(order[-val_size:])
    return (
        Images(images.images[kept], images.labels[kept]),
        Images(images.images[held], images.labels[held]),
    )


class Validator:
    """Evaluates every `eval.every_epochs`, and keeps the best model if images are held out.

    Writes W/eval_metrics.jsonl and, where the validation accuracy is the highest so far, W/best/.

    Args:
      config: of the run; `eval.every_epochs` 0 means never.
      workdir: W.
      light: state -> {name: value}; val/* where images are held out, test/* else: those are to be
        looked at, and nothing is chosen by them.
      steps_per_epoch: of the labelled stream.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: pathlib.Path,
        light: Callable[[TrainState], dict[str, float]],
        steps_per_epoch: int,
    ) -> None:
        self.light, self.workdir = light, workdir
        self.is_on = config.eval.every_epochs > 0
        self.every_steps = max(1, config.eval.every_epochs * steps_per_epoch)
        judges = self.is_on and config.data.val_size > 0
        self.best = Checkpoints(workdir / "best", keep=2) if judges else None

    def resume(self, step: int, *, is_retry: bool) -> None:
        """Drops what a run that goes on from `step` will write again.

        A plain resume makes the same models again, so a later best stays; a retry does not.
        """
        files.truncate_json_lines(self.workdir / "eval_metrics.jsonl", step)
        if self.best is not None and is_retry:
            for later in [s for s in self.best.steps() if s > step]:
                self.best.delete(later)

    def next_step(self, step: int) -> int:
        """The next step after `step` that is evaluated; far away if none is."""
        return step - step % self.every_steps + self.every_steps if self.is_on else 2**62

    def __call__(self, step: int, state: TrainState) -> None:
        """Evaluates at `step`, logs, and keeps the state if it is the best."""
        found = self.light(state)
        files.append_json_line(self.workdir / "eval_metrics.jsonl", {"step": step, **found})
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
        print(f"step {step:,}  {numbers}", flush=True)
        accuracy = found.get("val/accuracy", -1.0)
        if self.best is not None and accuracy > self._best_accuracy(self.best):
            self.best.save(step, state, **{"val/accuracy": accuracy})

    @staticmethod
    def _best_accuracy(best: Checkpoints) -> float:
        best.wait()
        return max((best_notes(best, s) for s in best.steps()), default=-1.0)


def best_notes(best: Checkpoints, step: int) -> float:
    """The validation accuracy of the model that W/best keeps of `step`."""
    return float(best.notes(step)["val/accuracy"])


def best_state(workdir: pathlib.Path, like: Any) -> tuple[int, Any] | None:
    """(step, state) of the highest validation accuracy; None if W has no best."""
    if not (workdir / "best").is_dir():
        return None
    best = Checkpoints(workdir / "best", read_only=True)
    steps = best.steps()
    if not steps:
        return None
    step = max(steps, key=lambda s: (best_notes(best, s), -s))
    return step, best.restore(step, like)
