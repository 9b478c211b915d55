"""Draws and writes the figures of several models: PNG for the page, PDF for a paper, arrays."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.tables.entries import Entry
from sadajem_jax.tables.figures import (
    drawing,
    histograms,
    landscape,
    learning_curves,
    reliability,
    robustness,
)
from sadajem_jax.tables.figures.drawing import Drawn
from sadajem_jax.tables.page import Picture
from sadajem_jax.workdir import files

FIGURES = (
    learning_curves.draw,
    reliability.draw,
    histograms.draw,
    robustness.draw,
    landscape.draw,
)


def write(entries: Sequence[Entry], folder: pathlib.Path) -> list[Picture]:
    """Writes all figures that there are arrays for; returns them in the page's order."""
    return [_write(drawn, folder) for drawn in _drawn(drawing.shown(entries))]


def _drawn(entries: Sequence[Entry]) -> Iterator[Drawn]:
    for data in dict.fromkeys(entry.data for entry in entries):
        own = [entry for entry in entries if entry.data == data]
        for draw in FIGURES:
            yield from draw(data, own)


def _write(drawn: Drawn, folder: pathlib.Path) -> Picture:
    path = folder / f"{drawn.name}.png"
    files.write_bytes_atomically(path, curves.png(drawn.canvas))
    pdf, arrays = io.BytesIO(), io.BytesIO()
    # No date: the same arrays give the same bytes.
    drawn.canvas.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Producer": None})
    files.write_bytes_atomically(path.with_suffix(".pdf"), pdf.getvalue())
    np.savez_compressed(arrays, allow_pickle=False, **drawn.arrays)
    files.write_bytes_atomically(path.with_suffix(".npz"), arrays.getvalue())
    return path, drawn.title, drawn.caption
