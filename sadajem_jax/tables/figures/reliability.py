"""Reliability diagrams of several models (Figure 4), on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.report import names
from sadajem_jax.tables import contents
from sadajem_jax.tables.entries import Entry
from sadajem_jax.tables.figures import drawing
from sadajem_jax.tables.figures.drawing import Drawn

FIGURE = "reliability"  # the evaluation's: images, accuracy and confidence, a value a bin


def draw(data: str, entries: Sequence[Entry]) -> Iterator[Drawn]:
    """One figure: a panel for each row, a line for each of its runs."""
    found = {m.number: drawing.arrays_of(m, FIGURE) for e in entries for m in e.members}
    rows = [e for e in entries if any(found[m.number] for m in e.members)]
    if not rows:
        return
    canvas, axes = drawing.panels([_name(entry) for entry in rows])
    arrays: dict[str, np.ndarray] = {}
    for panel, entry in zip(axes, rows, strict=True):
        panel.plot([0, 1], [0, 1], "--", color=curves.GREY, lw=1)
        panel.set(xlim=(0, 1), ylim=(0, 1))
        for member in entry.members:
            bins = found[member.number]
            if bins:
                full = bins["images"] > 0
                at, right = bins["confidence"][full], bins["accuracy"][full]
                panel.plot(at, right, "o-", color=curves.BLUE, ms=3, lw=1)
                arrays |= {f"run{member.number}/{name}": a for name, a in bins.items()}
    drawing.edge_labels(axes, "confidence max p(y|x)", "share right")
    caption = (
        f"Reliability (Figure 4) of {drawing.runs_in(arrays)} on {names.data_set(data)}, a line a "
        "run, a point a bin at its mean confidence; on the dashed line a model is as often right "
        "as it says."
    )
    yield Drawn(f"reliability_{data}", canvas, arrays, "Reliability", caption)


def _name(entry: Entry) -> str:
    _, error = contents.ECE
    return f"{entry.name()}: ECE {error(entry).text}%"
