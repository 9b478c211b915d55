"""Energy and loss around several models' parameters (Figures 1 and 7), on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sadajem_jax.report import names
from sadajem_jax.tables.entries import Entry
from sadajem_jax.tables.figures import drawing
from sadajem_jax.tables.figures.drawing import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURE = "landscape_lines"  # the evaluation's: TREATMENT/steps [P], /energy [D, P], /loss [D, P]
TREATMENTS = {
    "evaluation": "with running statistics",
    "batch": "with the batch's statistics",
}
QUANTITIES = {"energy": "energy", "loss": "classification loss"}

Lines = Mapping[int, Mapping[str, np.ndarray]]
"""The arrays of runs, by their numbers."""


def draw(data: str, entries: Sequence[Entry]) -> Iterator[Drawn]:
    """A figure a quantity and treatment of batch norm: a panel a row, a line a direction."""
    found = {m.number: drawing.arrays_of(m, FIGURE) or {} for e in entries for m in e.members}
    for quantity in QUANTITIES:
        for treatment in TREATMENTS:
            there = {n: _of(arrays, treatment, quantity) for n, arrays in found.items()}
            lines = {n: arrays for n, arrays in there.items() if arrays}
            rows = [e for e in entries if any(m.number in lines for m in e.members)]
            if rows:
                yield _figure(data, quantity, treatment, rows, lines)


def _of(arrays: Mapping[str, np.ndarray], treatment: str, quantity: str) -> dict[str, np.ndarray]:
    keys = {"steps": f"{treatment}/steps", quantity: f"{treatment}/{quantity}"}
    return {name: arrays[key] for name, key in keys.items() if keys[quantity] in arrays}


def _figure(data: str, quantity: str, treatment: str, rows: Sequence[Entry], lines: Lines) -> Drawn:
    canvas, axes = drawing.panels([entry.name() for entry in rows])
    for axis, entry in zip(axes, rows, strict=True):
        for place, number in enumerate(m.number for m in entry.members if m.number in lines):
            steps, values = lines[number]["steps"], lines[number][quantity]
            rise = values - values[:, [len(steps) // 2]]
            colour = drawing.COLOURS[place % len(drawing.COLOURS)]
            axis.plot(steps, rise.T, color=colour, lw=0.7, alpha=0.7)
    _same_height(axes)
    drawing.edge_labels(axes, "step, in lengths of the filters", "rise, nats an image")
    arrays = {f"run{n}/{key}": a for n, found in lines.items() for key, a in found.items()}
    words = f"{QUANTITIES[quantity]} {TREATMENTS[treatment]}"
    caption = (
        f"The {words}, around the parameters (Figures 1 and 7) of {drawing.runs_in(arrays)} on "
        f"{names.data_set(data)}, less its value there: a line a random filter-normalised "
        "direction, a colour a seed. All panels have one scale."
    )
    name = f"landscape_{quantity}_{treatment}_{data}"
    return Drawn(name, canvas, arrays, f"Landscape of the {words}", caption)


def _same_height(axes: Sequence[Axes]) -> None:
    limits = np.array([axis.get_ylim() for axis in axes])
    for axis in axes:
        axis.set_ylim(limits[:, 0].min(), limits[:, 1].max())
