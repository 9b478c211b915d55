"""What a run tells while it runs: a line to read, train_metrics.jsonl, and TensorBoard events."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import numpy as np

from sadajem_jax.console.progress import Progress
from sadajem_jax.console.words import duration
from sadajem_jax.inference import pictures
from sadajem_jax.training import metric_writer
from sadajem_jax.training.watch import Watch
from sadajem_jax.workdir import files


class RunLog:
    """Averages the metrics of steps and writes them every `every_steps`.

    Args:
      workdir: W; writes W/train_metrics.jsonl, W/events/ and W/samples/.
      step: where the run begins or goes on; what was logged of later steps is cut off.
      total_steps: length of the run.
      every_steps: steps averaged in a line.
      batch_size: labelled images a step.
      steps_per_epoch: of the stream that epochs are counted on.
      first_spread: of the run's first buffer, see `watch.spread`.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        step: int,
        *,
        total_steps: int,
        every_steps: int,
        batch_size: int,
        steps_per_epoch: int,
        first_spread: float,
    ) -> None:
        self.workdir, self.total_steps, self.every_steps = workdir, total_steps, every_steps
        self.batch_size, self.steps_per_epoch = batch_size, steps_per_epoch
        self.jsonl = workdir / "train_metrics.jsonl"
        files.truncate_json_lines(self.jsonl, step)
        self.writer = metric_writer.create(workdir / "events", purge_step=step + 1)
        self._sums: dict[str, float] = {}
        self._count, self._seconds = 0, 0.0
        self._rate: float | None = None
        self._watch = Watch(steps_per_epoch, first_spread)
        # a log file gets this class's own lines alone
        self._progress = Progress("training", unit="step", done=step, lines=False)

    def add(self, step: int, metrics: dict[str, np.ndarray], seconds: float) -> None:
        """Takes the metrics [n] of the n steps up to `step`, which took `seconds`."""
        count = len(next(iter(metrics.values())))
        self._progress(step, self.total_steps)
        for i in range(count):
            for name, values in metrics.items():
                self._sums[name] = self._sums.get(name, 0.0) + float(values[i])
            self._count += 1
            self._seconds += seconds / count
            done = step - count + i + 1
            if done % self.every_steps == 0 or done == self.total_steps:
                self._write(done)

    def _write(self, step: int) -> None:
        scalars = {name: total / self._count for name, total in self._sums.items()}
        rate = self._count / self._seconds
        scalars["images_per_second"] = rate * self.batch_size
        scalars["epoch"] = step / self.steps_per_epoch
        self._sums, self._count, self._seconds = {}, 0, 0.0
        self._rate = rate if self._rate is None else 0.7 * self._rate + 0.3 * rate
        files.append_json_line(self.jsonl, {"step": step, **scalars, "time": round(time.time(), 2)})
        self.writer.write_scalars(step, scalars)
        self.say(self._line(step, scalars))
        self._warn(self._watch.scalars(step, scalars))

    def say(self, line: str) -> None:
        """Prints a line, above the progress bar where there is one."""
        self._progress.say(line)

    def _warn(self, warnings: list[str]) -> None:
        for warning in warnings:
            self.say(f"warning: {warning}")

    def _line(self, step: int, s: dict[str, float]) -> str:
        left = duration((self.total_steps - step) / (self._rate or 1))
        line = (
            f"step {step:,}/{self.total_steps:,}  epoch {s['epoch']:.2f}  "
            f"{s['images_per_second']:,.0f} images/s  {left} left | "
            f"cross-entropy {s['cross_entropy']:.3f}  accuracy {s['accuracy']:.3f}"
        )
        if "log_density_gap" not in s:
            return line
        return (
            f"{line} | log-density: data {s['log_density_data']:.2f}  "
            f"samples {s['log_density_samples']:.2f}  gap {s['log_density_gap']:+.2f}"
        )

    def samples(self, step: int, buffer: np.ndarray) -> pathlib.Path:
        """Writes a grid of the buffer's first images [N, H, W, channels]; returns its path."""
        self._warn(self._watch.buffer(step, buffer))
        shown = pictures.to_uint8(buffer)
        grid = pictures.grid(shown, scale=max(1, 64 // buffer.shape[1]))
        path = self.workdir / "samples" / f"step_{step:08d}.png"
        pictures.save_png(path, grid)
        self.writer.write_images(step, {"samples": grid[None]})
        return path

    def close(self) -> None:
        """Flushes the event files and clears the progress bar."""
        self._progress.close()
        self.writer.close()


class Quiet:
    """A log that tells nothing, of a process beside the one that does."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def add(self, *_: Any) -> None:
        """Nothing."""

    def samples(self, *_: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
