"""Histograms of log p(x) of several models (Tables 4 and 8), on one scale."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.report import names
from sadajem_jax.tables.entries import Entry, Member
from sadajem_jax.tables.figures import drawing
from sadajem_jax.tables.figures.drawing import Drawn

BINS = 60
TAIL = 0.005  # of all values at either end lie beyond the axis
INSIDE, OUTSIDE = "log_density/inside", "log_density/outside"
LOOKS = (
    (INSIDE, curves.BLUE, "the model's own test set"),
    (OUTSIDE, curves.RED, "the set named above"),
)
SCALE = "log p(x) + log Z, nats; what lies beyond is in the outermost bins"


class Line(NamedTuple):
    """A row of panels: an entry, its first run with histograms, and its arrays by set."""

    entry: Entry
    member: Member
    sets: dict[str, Mapping[str, np.ndarray]]


def draw(data: str, entries: Sequence[Entry]) -> Iterator[Drawn]:
    """One figure: a line of panels for each row, a column for each set."""
    lines = [line for line in map(_line, entries) if line is not None]
    labels = list(dict.fromkeys(label for line in lines for label in line.sets))
    if not labels:
        return
    edges = _edges([a[k] for line in lines for a in line.sets.values() for k in (INSIDE, OUTSIDE)])
    inches = (2.2 * max(len(labels), 2) + 0.6, 1.45 * len(lines) + 0.9)
    canvas, axes = curves.canvas(len(lines), len(labels), inches)
    arrays: dict[str, np.ndarray] = {"edges": edges}
    places = [(line, label) for line in lines for label in labels]
    for panel, (line, label) in zip(axes, places, strict=True):
        panel.set(yticks=[], xlim=(edges[0], edges[-1]))
        found = line.sets.get(label)
        if found is None:
            panel.set_visible(False)
            continue
        for key, colour, what in LOOKS:
            share = _shares(found[key], edges)
            panel.stairs(share, edges, fill=True, color=colour, alpha=0.45, label=what)
            arrays[f"run{line.member.number}/{label}/{key}"] = found[key]
    _name(axes, lines, labels)
    drawing.legend(canvas, axes[0], SCALE)  # the first line has the first set
    caption = (
        f"log p(x) + log Z, nats (Tables 4 and 8), of {drawing.runs_in(arrays)} on "
        f"{names.data_set(data)}: of the test set (blue) and of another set (red), shares of "
        "images. All panels have one scale; what lies beyond it is in the outermost bins. Of a row "
        "with several seeds the first is drawn, as each has its own Z."
    )
    yield Drawn(f"log_density_{data}", canvas, arrays, "Histograms of log p(x)", caption)


def _line(entry: Entry) -> Line | None:
    for member in entry.members:
        found = {
            label: drawing.arrays_of(member, f"ood_{label}")
            for label in member.run.ood_labels(member.subject.prefix)
        }
        there = {label: a for label, a in found.items() if a and INSIDE in a}
        if there:
            return Line(entry, member, there)
    return None


def _edges(values: Sequence[np.ndarray]) -> np.ndarray:
    """Of BINS equal bins over all but the TAIL of the values at either end."""
    low, high = np.quantile(np.concatenate(values), [TAIL, 1 - TAIL])
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


def _shares(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Of the values in each bin, those beyond the ends in the outermost; they add up to 1."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)


def _name(axes: Sequence, lines: Sequence[Line], labels: Sequence[str]) -> None:
    """Sets above the columns, rows at the left."""
    for panel, label in zip(axes, labels, strict=False):
        curves.heading(panel, names.data_set(label))
    for panel, line in zip(axes[:: len(labels)], lines, strict=True):
        panel.set_visible(True)
        name = textwrap.fill(line.entry.name(), 22)
        panel.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7.5)
