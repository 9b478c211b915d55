"""Accuracy under attack of several models (Figure 5), on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.report import names
from sadajem_jax.tables.entries import Entry
from sadajem_jax.tables.figures import drawing
from sadajem_jax.tables.figures.drawing import Drawn

NORMS = {"l_inf": "L_inf", "l_2": "L_2"}
EPS, ACCURACY = "eps", "robust_accuracy"  # [E] budgets in 1/255, and [E] shares defended

Curves = list[tuple[Entry, dict[int, Mapping[str, np.ndarray]]]]
"""Rows, and the arrays of their runs by number."""


def draw(data: str, entries: Sequence[Entry]) -> Iterator[Drawn]:
    """One figure: a panel for each norm, a line for each row."""
    found = {norm: _curves(norm, entries) for norm in NORMS}
    norms = [norm for norm, curves_of in found.items() if curves_of]
    if not norms:
        return
    # As wide as for two: the legend is below.
    canvas, axes = curves.canvas(1, 2, (9.0, 3.9))
    axes[1].set_visible(len(norms) == 2)
    arrays: dict[str, np.ndarray] = {}
    rows = [e for e in entries if any(e is row for norm in norms for row, _ in found[norm])]
    for panel, norm in zip(axes, norms, strict=False):
        curves.heading(panel, f"share defended, {NORMS[norm]}")
        panel.set(xlabel="budget eps, in 1/255", ylim=(0, 1))
        for entry, runs in found[norm]:
            _line(panel, entry, runs, next(i for i, row in enumerate(rows) if row is entry))
            arrays |= {f"run{n}/{norm}/{k}": a[k] for n, a in runs.items() for k in (EPS, ACCURACY)}
    drawing.legend(canvas, max(axes, key=lambda axis: len(axis.lines)))
    caption = (
        f"Robustness (Figure 5) of {drawing.runs_in(arrays)} on {names.data_set(data)}: the share "
        "of attacked test images that stay rightly classified; the mean over seeds, shaded one "
        "standard deviation either way."
    )
    yield Drawn(f"robustness_{data}", canvas, arrays, "Robustness", caption)


def _curves(norm: str, entries: Sequence[Entry]) -> Curves:
    found = []
    for entry in entries:
        arrays = {m.number: drawing.arrays_of(m, f"robustness_{norm}") for m in entry.members}
        there = {n: a for n, a in arrays.items() if a and EPS in a and ACCURACY in a}
        if there:
            found.append((entry, there))
    return found


def _line(
    panel: curves.Axes, entry: Entry, runs: Mapping[int, Mapping[str, np.ndarray]], place: int
) -> None:
    """Over the budgets that all runs of the row have."""
    eps = sorted(set.intersection(*(set(a[EPS].tolist()) for a in runs.values())))
    values = np.array([[a[ACCURACY][a[EPS].tolist().index(e)] for e in eps] for a in runs.values()])
    mean = values.mean(axis=0)
    panel.plot(
        eps, mean, "o-", ms=3, lw=1.2, label=entry.name(), color=drawing.look(place)["color"]
    )
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        colour = drawing.look(place)["color"]
        panel.fill_between(eps, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
