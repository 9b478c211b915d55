"""What a run tells while it runs: a line to read, train_metrics.jsonl, and TensorBoard events."""

from __future__ import annotations

import math
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from sadajem_jax.console.progress import Progress
from sadajem_jax.console.words import duration
from sadajem_jax.inference import pictures
from sadajem_jax.training import metric_writer, own_page, tags
from sadajem_jax.training.watch import Watch
from sadajem_jax.workdir import files

SECONDS_BETWEEN_LINES = {True: 5.0, False: 30.0}  # on a terminal, and in a file
SECONDS_BETWEEN_PAGES = 60.0  # a page takes about a second


class Means:
    """Averages of what steps told, and the steps' rate."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._count, self._timed, self._seconds = 0, 0, 0.0

    def add(self, values: dict[str, float], seconds: float | None) -> None:
        """A step's numbers, and how long it took; None: no rate counts it."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if seconds is not None:
            self._timed += 1
            self._seconds += seconds

    def taken(self) -> tuple[dict[str, float], float | None]:
        """({name: mean}, steps a second if any was timed)."""
        means = {name: total / self._count for name, total in self._sums.items()}
        return means, self._timed / self._seconds if self._timed else None


class RunLog:
    """Writes the means of every `every_steps` steps, and says in lines how the run goes.

    A line comes after the first step and then by time, whatever a step takes. No rate counts
    the first block, which may load what was compiled.

    Args:
      workdir: W; writes W/train_metrics.jsonl, W/events/ and W/samples/.
      step: where the run begins or goes on; what was logged of later steps is cut off.
      total_steps: length of the run.
      every_steps: steps averaged in a line of the file.
      batch_size: labelled images a step.
      steps_per_epoch: of the stream that epochs are counted on.
      first_spread: of the run's first buffer, see `watch.spread`.
      rates: [total_steps] learning rates, see `schedule.rates`.
      settings: of the run, flat, for TensorBoard's TEXT and HPARAMS tabs.
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
        rates: np.ndarray,
        settings: Mapping[str, Any],
    ) -> None:
        self.workdir, self.total_steps, self.every_steps = workdir, total_steps, every_steps
        self.batch_size, self.steps_per_epoch = batch_size, steps_per_epoch
        self.rates = rates
        self.jsonl = workdir / "train_metrics.jsonl"
        files.truncate_json_lines(self.jsonl, step)
        self.writer = metric_writer.create(workdir / "events", purge_step=step + 1)
        self.writer.write_texts(step, {"config": tags.table(settings)})
        self.writer.write_hparams(settings)
        self._written, self._spoken = Means(), Means()
        self._rate: float | None = None
        self._said: float | None = None  # when the last line was
        self._watch = Watch(steps_per_epoch, first_spread)
        self._has_news, self._paged, self._complaint = False, -math.inf, ""
        # There is a bar of steps; a log file gets this class's own lines alone.
        self._progress = Progress("training", unit="steps", done=step, lines=False)

    def add(self, step: int, metrics: dict[str, np.ndarray], seconds: float) -> None:
        """Takes the metrics [n] of the n steps up to `step`, which took `seconds`."""
        count = len(next(iter(metrics.values())))
        each = None if self._said is None else seconds / count
        self._progress(step, self.total_steps)
        for i, done in enumerate(range(step - count + 1, step + 1)):
            values = {name: float(of_steps[i]) for name, of_steps in metrics.items()}
            self._written.add(values, each)
            self._spoken.add(values, each)
            if done % self.every_steps == 0 or done == self.total_steps:
                self._write(done)
        self._speak(step, seconds)

    def _write(self, step: int) -> None:
        (scalars, rate), self._written = self._written.taken(), Means()
        if rate is not None:
            scalars["images_per_second"] = rate * self.batch_size
        scalars["epoch"] = step / self.steps_per_epoch
        scalars["learning_rate"] = float(self.rates[step - 1])
        files.append_json_line(self.jsonl, {"step": step, **scalars, "time": round(time.time(), 2)})
        self._show(step, {tags.tag(name): value for name, value in scalars.items()})
        self._warn(self._watch.scalars(step, scalars))

    def evaluated(self, step: int, found: Mapping[str, float]) -> None:
        """Takes what an evaluation on the way found, {name: value}, and says it."""
        self._show(step, found)
        self._has_news = True
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
        self.say(f"step {step:,}  {numbers}")

    def _show(self, step: int, scalars: Mapping[str, float]) -> None:
        """To TensorBoard, which reads while the run goes on."""
        self.writer.write_scalars(step, scalars)
        self.writer.flush()

    def _speak(self, step: int, seconds: float) -> None:
        """Says a line if one is due."""
        now, wait = time.monotonic(), SECONDS_BETWEEN_LINES[sys.stderr.isatty()]
        if self._said is not None and now - self._said < wait and step != self.total_steps:
            return
        self._said = now
        (scalars, rate), self._spoken = self._spoken.taken(), Means()
        took = f"first step took {duration(seconds)}"
        self.say(self._line(step, scalars, took if rate is None else self._outlook(step, rate)))

    def _outlook(self, step: int, rate: float) -> str:
        self._rate = 0.7 * (self._rate or rate) + 0.3 * rate
        left = (self.total_steps - step) / self._rate
        return f"{rate * self.batch_size:,.0f} images/s, {duration(left)} left"

    def say(self, line: str) -> None:
        """Prints a line, above the progress bar where there is one."""
        self._progress.say(line)

    def _warn(self, warnings: list[str]) -> None:
        for warning in warnings:
            self.say(f"warning: {warning}")

    def _line(self, step: int, s: dict[str, float], outlook: str) -> str:
        """At most 100 characters, in columns, while the numbers are of a usual size."""
        total = f"{self.total_steps:,}"
        line = (
            f"step {step:{len(total)},}/{total}  {outlook:>31}  "
            f"nll {s['cross_entropy']:5.3f}  acc {s['accuracy']:5.1%}"
        )
        if "log_density_gap" not in s:
            return line
        return f"{line}  log p {s['log_density_data']:+6.2f}  gap {s['log_density_gap']:+5.2f}"

    def samples(self, step: int, buffer: np.ndarray) -> pathlib.Path:
        """Writes a grid of the buffer's first images [N, H, W, channels]; returns its path."""
        self._warn(self._watch.buffer(step, buffer))
        shown = pictures.to_uint8(buffer)
        grid = pictures.grid(shown, scale=max(1, 64 // buffer.shape[1]))
        path = self.workdir / "samples" / f"step_{step:08d}.png"
        pictures.save_png(path, grid)
        self.writer.write_images(step, {"samples": grid[None]})
        self.writer.flush()
        self._has_news = True
        return path

    def page(self, *, is_saved: bool = False, is_last: bool = False) -> None:
        """Makes W/report/ anew if there is news for it, but not every moment.

        Args:
          is_saved: whether a checkpoint was saved, which is news.
          is_last: whether the run stops here: then the page is made, however new the one before.
        """
        now = time.monotonic()
        self._has_news |= is_saved or is_last
        is_soon = not is_last and now - self._paged < SECONDS_BETWEEN_PAGES
        if not self._has_news or is_soon:
            return
        self._has_news, self._paged = False, now
        complaint = own_page.made(self.workdir)
        if complaint != self._complaint:  # once, not at every page
            self._warn([complaint] if complaint else [])
        self._complaint = complaint

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

    def evaluated(self, *_: Any) -> None:
        """Nothing."""

    def page(self, **_: bool) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
