"""Training images held out, and the best model judged on them: never on the test set."""

from __future__ import annotations

import pathlib
from typing import Any

import ml_collections
import numpy as np

from sadajem_jax import files
from sadajem_jax.checkpoint import Checkpoints
from sadajem_jax.data import Images
from sadajem_jax.evaluation.accuracy import Accuracy
from sadajem_jax.train_state import TrainState
from sadajem_jax.wide_resnet import WideResNet

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
    """Evaluates on the held-out images every `eval.every_epochs` and keeps the best model.

    Writes W/eval_metrics.jsonl and, where the accuracy is the highest so far, W/best/.

    Args:
      config: of the run; `eval.every_epochs` 0 means never.
      workdir: W.
      model: the network.
      held_out: the validation images; none: never.
      steps_per_epoch: of the labelled stream.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: pathlib.Path,
        model: WideResNet,
        held_out: Images,
        steps_per_epoch: int,
    ) -> None:
        self.images, self.workdir = held_out, workdir
        self.is_on = len(held_out.labels) > 0 and config.eval.every_epochs > 0
        self.every_steps = max(1, config.eval.every_epochs * steps_per_epoch)
        if self.is_on:
            batch_size = min(config.eval.batch_size, len(held_out.labels))
            self._accuracy = Accuracy(model, batch_size=batch_size)
            self.best = Checkpoints(workdir / "best", keep=2)

    def resume(self, step: int, *, is_retry: bool) -> None:
        """Drops what a run that goes on from `step` will write again.

        A plain resume makes the same models again, so a later best stays; a retry does not.
        """
        if not self.is_on:
            return
        files.truncate_json_lines(self.workdir / "eval_metrics.jsonl", step)
        for later in [s for s in self.best.steps() if is_retry and s > step]:
            self.best.delete(later)

    def next_step(self, step: int) -> int:
        """The next step after `step` that is evaluated; far away if none is."""
        return step - step % self.every_steps + self.every_steps if self.is_on else 2**62

    def __call__(self, step: int, state: TrainState) -> None:
        """Evaluates at `step`, logs, and keeps the state if it is the best."""
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        found = dict(self._accuracy(variables, *self.images, "val"))
        files.append_json_line(self.workdir / "eval_metrics.jsonl", {"step": step, **found})
        print(f"step {step:,}  validation accuracy {found['val/accuracy']:.2%}", flush=True)
        if found["val/accuracy"] > self._best_accuracy():
            self.best.save(step, state, **{"val/accuracy": found["val/accuracy"]})

    def _best_accuracy(self) -> float:
        self.best.wait()
        return max((best_notes(self.best, s) for s in self.best.steps()), default=-1.0)


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
