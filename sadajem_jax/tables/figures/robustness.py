"""Accuracy under attack of several models (Figure 5), on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.report import names
from sadajem_jax.tables.entries import Entry
from sadajem_jax.tables.figures import drawing
from sadajem_jax.tables.figures.drawing import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EPS, ACCURACY = "eps", "accuracy"  # the evaluation's: [E] budgets on [0, 1], 0 first, and shares
LEVEL, LAST_LEVEL = 255, 30  # the paper's largest budget is 30/255

Curves = Mapping[int, Mapping[str, np.ndarray]]
"""The arrays of a row's runs, by their numbers."""


class Panel(NamedTuple):
    """A norm, its name, and up to which budget in 1/255 it is drawn."""

    norm: str
    title: str
    last: float


PANELS = (
    Panel("l_inf", "L_inf, the paper's budgets", LAST_LEVEL),
    Panel("l_2", "L_2, the paper's budgets", LAST_LEVEL),
    Panel("l_2", "L_2, up to radius 1", LEVEL),
)


def draw(data: str, entries: Sequence[Entry]) -> Iterator[Drawn]:
    """One figure: a line for each row, a colour the same in all panels."""
    found = {norm: [_curves(norm, entry) for entry in entries] for norm in ("l_inf", "l_2")}
    shown = [panel for panel in PANELS if _reaches(found[panel.norm], panel.last)]
    if not shown:
        return
    canvas, axes = curves.canvas(1, len(PANELS), (11.0, 3.9))
    for axis, panel in zip(axes, shown, strict=False):
        curves.heading(axis, panel.title)
        axis.set(xlabel="eps, in 1/255", ylim=(0, 1.02), xlim=(0, panel.last))
        for place, (entry, runs) in enumerate(zip(entries, found[panel.norm], strict=True)):
            if runs:
                _line(axis, entry.name(), runs, place)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    axes[0].set_ylabel("share that withstands PGD")
    drawing.legend(canvas, max(axes, key=lambda axis: len(axis.lines)))
    arrays = {
        f"run{number}/{norm}/{key}": values[key]
        for norm, rows in found.items()
        for runs in rows
        for number, values in runs.items()
        for key in (EPS, ACCURACY)
    }
    yield Drawn(f"robustness_{data}", canvas, arrays, "Robustness", _caption(data, arrays))


def _caption(data: str, arrays: Mapping[str, np.ndarray]) -> str:
    return (
        f"Robustness (Figure 5) of {drawing.runs_in(arrays)} on {names.data_set(data)}: the share "
        "of the attacked test images that stay rightly classified, sizes on the scale of [0, 1]; "
        "the mean over seeds, shaded one standard deviation either way."
    )


def _curves(norm: str, entry: Entry) -> Curves:
    found = {m.number: drawing.arrays_of(m, f"robustness_{norm}") for m in entry.members}
    return {n: a for n, a in found.items() if a and EPS in a and ACCURACY in a}


def _reaches(rows: Sequence[Curves], last: float) -> bool:
    """Whether a run has budgets that a smaller panel would not show."""
    largest = [a[EPS].max() * LEVEL for runs in rows for a in runs.values()]
    return bool(largest) and (last <= LAST_LEVEL or max(largest) > LAST_LEVEL + 0.5)


def _line(axis: Axes, name: str, runs: Curves, place: int) -> None:
    """Over the budgets that all runs of the row have."""
    eps = np.array(sorted(set.intersection(*(set(a[EPS].tolist()) for a in runs.values()))))
    values = np.array([a[ACCURACY][np.argsort(a[EPS])][_among(a, eps)] for a in runs.values()])
    mean, look = values.mean(axis=0), drawing.look(place)
    axis.plot(LEVEL * eps, mean, marker="o", ms=3, lw=1.2, label=name, **look)
    if len(values) > 1:
        ends = mean + np.outer((-1, 1), values.std(axis=0, ddof=1))
        axis.fill_between(LEVEL * eps, *ends, color=look["color"], alpha=0.15, lw=0)


def _among(arrays: Mapping[str, np.ndarray], eps: np.ndarray) -> np.ndarray:
    """Which of a run's budgets, in order of size, are among these."""
    return np.isin(np.sort(arrays[EPS]), eps)
