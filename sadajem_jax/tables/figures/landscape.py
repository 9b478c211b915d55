"""The energy around several models' parameters (Figures 1 and 7), on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.report import names
from sadajem_jax.tables.entries import Entry
from sadajem_jax.tables.figures import drawing
from sadajem_jax.tables.figures.drawing import Drawn

FIGURE = "landscape_lines"  # the evaluation's: steps [P], energy [D, P] and loss [D, P]
STEPS = "steps"
QUANTITIES = {"energy": "energy", "loss": "classification loss"}


def draw(data: str, entries: Sequence[Entry]) -> Iterator[Drawn]:
    """A figure for the energy and one for the loss: a panel a row, a line a direction."""
    found = {m.number: drawing.arrays_of(m, FIGURE) for e in entries for m in e.members}
    for quantity, words in QUANTITIES.items():
        there = {n: a for n, a in found.items() if a and STEPS in a and quantity in a}
        rows = [e for e in entries if any(m.number in there for m in e.members)]
        if rows:
            yield _figure(data, quantity, words, rows, there)


def _figure(
    data: str,
    quantity: str,
    words: str,
    rows: Sequence[Entry],
    there: Mapping[int, Mapping[str, np.ndarray]],
) -> Drawn:
    canvas, axes = drawing.panels([entry.name() for entry in rows])
    arrays: dict[str, np.ndarray] = {}
    for panel, entry in zip(axes, rows, strict=True):
        runs = [m.number for m in entry.members if m.number in there]
        for place, number in enumerate(runs):
            steps, values = there[number][STEPS], there[number][quantity]
            rise = values - values[:, [len(steps) // 2]]
            panel.plot(steps, rise.T, color=drawing.COLOURS[place % 12], lw=0.7, alpha=0.7)
            arrays |= {f"run{number}/{STEPS}": steps, f"run{number}/{quantity}": values}
    _same_height(axes)
    drawing.edge_labels(axes, "step, in lengths of the filters", "rise, nats an image")
    caption = (
        f"The {words} around the parameters (Figures 1 and 7) of {drawing.runs_in(arrays)} on "
        f"{names.data_set(data)}, less its value there: a line a random filter-normalised "
        "direction, a colour a seed. All panels have one scale."
    )
    return Drawn(
        f"landscape_{quantity}_{data}", canvas, arrays, f"Landscape of the {words}", caption
    )


def _same_height(axes: Sequence[curves.Axes]) -> None:
    limits = np.array([panel.get_ylim() for panel in axes])
    for panel in axes:
        panel.set_ylim(limits[:, 0].min(), limits[:, 1].max())
