"""Learning curves of several trainings (Figure 3), from their logs as they are now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.report import names
from sadajem_jax.tables.entries import Entry, Member
from sadajem_jax.tables.figures import drawing
from sadajem_jax.tables.figures.drawing import Drawn
from sadajem_jax.workdir import files

LOGS = ("train_metrics.jsonl", "eval_metrics.jsonl")
PANELS = {  # key of a log: a panel's heading
    "accuracy": "accuracy, training batches",
    "val/accuracy": "accuracy, validation",
    "cross_entropy": "cross-entropy, nats",
    "log_density_gap": "log p(x): data less samples, nats",
}


def draw(data: str, entries: Sequence[Entry]) -> Iterator[Drawn]:
    """One figure: a line for each run, a colour for each row.

    Args:
      data: the data set.
      entries: rows of that data set.
    """
    rows = [entry for entry in entries if entry.is_main]
    curves_of = {m.number: _curves(m) for entry in rows for m in entry.members}
    keys = [key for key in PANELS if any(key in found for found in curves_of.values())]
    if not keys:
        return
    canvas, axes = curves.canvas(-(-len(keys) // 2), 2, (9.0, 2.9 * -(-len(keys) // 2) + 0.9))
    for panel in axes[len(keys) :]:
        panel.set_visible(False)
    for panel, key in zip(axes, keys, strict=False):
        curves.heading(panel, PANELS[key])
        panel.set_xlabel("epoch")
        _lines(panel, key, rows, curves_of)
    drawing.legend(canvas, axes[0])
    arrays = {f"run{n}/{key}": a for n, found in curves_of.items() for key, a in found.items()}
    caption = (
        f"Learning curves (Figure 3) of {drawing.runs_in(arrays)} on {names.data_set(data)}; each "
        "point of training is a mean over the steps since the last. An epoch is a pass of the "
        "stream that the run itself counts them on."
    )
    yield Drawn(f"learning_curves_{data}", canvas, arrays, "Learning curves", caption)


def _lines(
    panel: Any, key: str, rows: Sequence[Entry], curves_of: dict[int, dict[str, np.ndarray]]
) -> None:
    for place, entry in enumerate(rows):
        label: str | None = entry.name()
        for member in entry.members:
            found = curves_of[member.number]
            if key in found:
                few = len(found[key]) < 3
                panel.plot(
                    found[f"{key}/epoch"],
                    found[key],
                    label=label,
                    lw=1.0,
                    marker="o" if few else None,
                    ms=3,
                    **drawing.look(place),
                )
                label = None


def _curves(member: Member) -> dict[str, np.ndarray]:
    """{"KEY": values, "KEY/epoch": where} of each curve that the logs hold."""
    train, validation = (files.read_json_lines(member.run.workdir / name) for name in LOGS)
    if not train:
        return {}
    per_epoch = train[-1]["step"] / train[-1]["epoch"]
    found: dict[str, np.ndarray] = {}
    for key in PANELS:
        rows = [row for row in (validation if key.startswith("val/") else train) if key in row]
        if rows:
            found[key] = np.array([row[key] for row in rows], np.float64)
            found[f"{key}/epoch"] = np.array([row["step"] / per_epoch for row in rows])
    return found
