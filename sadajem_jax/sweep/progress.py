"""What has become of a run, as its folder says, and how long the others will take."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from sadajem_jax.data.specs import get_spec
from sadajem_jax.sweep import commands
from sadajem_jax.sweep.grid import Run
from sadajem_jax.sweep.record import Record
from sadajem_jax.training import schedule
from sadajem_jax.workdir import files
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.records import read_json

TRAINING, EVALUATION = "training", "evaluation"
LOG = "train_metrics.jsonl"


def total_steps(run: Run) -> int:
    """Its length, on the official number of training images."""
    images = get_spec(run.settings["data.name"]).num_train - run.settings["data.val_size"]
    return schedule.total_steps(run.settings, images)


def is_trained(run: Run) -> bool:
    """Whether its folder holds the result of these very settings, at their end.

    False only means that main must say: of a part of a data set it knows the length.

    Raises:
      UserError: if a file of the folder is damaged.
    """
    metrics = read_json(run.workdir / "metrics.json")
    if "test/accuracy" not in metrics or metrics.get("train/steps") != total_steps(run):
        return False
    return not run_settings.differences(run_settings.read(run.workdir), run.settings)


def is_evaluated(run: Run, record: Record) -> bool:
    """Whether this sweep evaluated it, at these steps and with these flags."""
    known = record.of(run.name, EVALUATION)
    return known.get("status") == 0 and known.get("of") == evaluated(run)


def evaluated(run: Run) -> list[Any]:
    """What an evaluation was of: the training's end, and the flags."""
    flags = commands.evaluation(run)[len(commands.program()) :]
    return [read_json(run.workdir / "metrics.json").get("train/steps"), *flags]


def is_finished(run: Run, record: Record, evaluates: bool) -> bool:
    """Whether nothing is left to do."""
    return is_trained(run) and (not evaluates or is_evaluated(run, record))


def share_done(run: Run) -> float:
    """How much of the training its log says is done, 0 to 1."""
    rows = files.read_json_lines(run.workdir / LOG)
    return min(1.0, rows[-1]["step"] / total_steps(run)) if rows else 0.0


def seconds_left(runs: Sequence[Run], record: Record, evaluates: bool) -> float | None:
    """Of all runs that are not finished; None while nothing is known.

    A stage is taken to last as long as it did on average in the finished runs that have the most
    values of the grid in common with it.
    """
    stages = (TRAINING, EVALUATION) if evaluates else (TRAINING,)
    left = [_stage_left(run, runs, record, stage) for run in runs for stage in stages]
    return None if None in left else sum(seconds for seconds in left if seconds is not None)


def _stage_left(run: Run, runs: Iterable[Run], record: Record, stage: str) -> float | None:
    done = is_trained(run) if stage == TRAINING else is_finished(run, record, True)
    if done:
        return 0.0
    expected = _expected(run, runs, record, stage)
    if expected is None:
        return None
    return expected * (1 - share_done(run)) if stage == TRAINING else expected


def _expected(run: Run, runs: Iterable[Run], record: Record, stage: str) -> float | None:
    """The whole stage's seconds."""
    found: dict[int, list[float]] = {}
    for other in runs:
        seconds = _took(other, record, stage)
        if seconds is not None:
            common = sum(other.point.get(field) == value for field, value in run.point.items())
            found.setdefault(common, []).append(seconds)
    return statistics.fmean(found[max(found)]) if found else None


def _took(run: Run, record: Record, stage: str) -> float | None:
    """As recorded, or for what a scheduler ran as its log says; attempts that were killed count."""
    recorded = record.seconds(run.name, stage)
    if stage == EVALUATION or not is_trained(run):
        return recorded
    metrics = read_json(run.workdir / "metrics.json")
    speed = metrics.get("train/images_per_second")
    images = metrics["train/steps"] * run.settings["train.batch_size_label"]
    return max(recorded or 0.0, images / speed if speed else 0.0) or None
