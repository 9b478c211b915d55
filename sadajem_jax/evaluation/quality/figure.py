"""What precision, density and coverage see: images beside those nearest to them in features."""

from __future__ import annotations

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.evaluation.quality.judging import Judged
from sadajem_jax.inference import pictures
from sadajem_jax.workdir.figure import Figure

ROWS, NEAREST = 6, 5
PIXELS = 64  # of an image, about


def beside(name: str, images: np.ndarray, real: np.ndarray, judged: Judged, network: str) -> Figure:
    """Samples of the highest density, samples in no real neighbourhood, and real images missed.

    Args:
      name: of the figure.
      images: [N, H, W, channels] uint8, what was judged.
      real: [M, H, W, channels] uint8, those whose features the reference keeps.
      judged: what was found.
      network: what saw them, in words.
    """
    compared = judged.compared
    dense = np.lexsort((compared.apart, -compared.balls))
    outside = _farthest(~compared.precise, compared.apart)
    missed = _farthest(~compared.covered, compared.missed)
    fake_sees, real_sees = judged.features, judged.real.features
    panels = {
        "dense": _rows(dense[:ROWS], images, fake_sees, real, real_sees),
        "outside": _rows(outside[:ROWS], images, fake_sees, real, real_sees),
        "missed": _rows(missed[:ROWS], real, real_sees, images, fake_sees),
    }
    titles = (
        "samples in the most real neighbourhoods",
        f"samples in none: {len(outside):,} of {len(images):,}",
        f"real, no sample near: {len(missed):,} of {len(real):,}",
    )
    caption = (
        f"In each row an image, and the images of the other set nearest to it in the features of "
        f"{network}. Left: samples of the highest density, beside real images; middle: what "
        "precision misses, samples in no real neighbourhood (k = 3), the farthest first; right: "
        "what coverage misses, real images with no sample in their neighbourhood (k = 5), the "
        "farthest first, beside samples. Blank where there are fewer."
    )
    arrays = {
        f"{key}/{part}": value for key, rows in panels.items() for part, value in rows.items()
    }
    return Figure(name, _draw(panels, titles), ".png", arrays, caption)


def _farthest(kind: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Rows of a kind, the largest distance first."""
    rows = np.flatnonzero(kind)
    return rows[np.argsort(-squares[rows], kind="stable")]


def _rows(
    rows: np.ndarray,
    images: np.ndarray,
    features: np.ndarray,
    others: np.ndarray,
    their_features: np.ndarray,
) -> dict[str, np.ndarray]:
    """Images by their rows, and the rows of the other set nearest to each."""
    near = nearest(features[rows], their_features, NEAREST)
    return {"rows": rows, "images": images[rows], "nearest": near, "beside": others[near]}


def nearest(queries: np.ndarray, features: np.ndarray, k: int) -> np.ndarray:
    """Rows of features [N, D] nearest to each query [Q, D], the nearest first: [Q, min(k, N)]."""
    middle = features.mean(axis=0, dtype=np.float64)  # far from 0 differences lose digits
    q, x = queries - middle, features - middle
    squares = (q**2).sum(axis=1)[:, None] - 2 * q @ x.T + (x**2).sum(axis=1)
    return np.argsort(squares, axis=1, kind="stable")[:, :k]


def _draw(panels: dict[str, dict[str, np.ndarray]], titles: tuple[str, ...]) -> bytes:
    figure, axes = curves.canvas(1, len(panels), (10.5, 3.5))
    figure.get_layout_engine().set(wspace=0.05)
    for axis, rows, title in zip(axes, panels.values(), titles, strict=True):
        curves.heading(axis, title)
        axis.imshow(_grid(rows["images"], rows["beside"]), interpolation="nearest")
        axis.set_axis_off()
    return curves.png(figure)


def _grid(images: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Rows of an image, a gap, and those beside it; blank to the same size in all panels."""
    shape, scale = images.shape[1:], max(1, PIXELS // images.shape[1])
    cells = np.full((ROWS, 1 + NEAREST, *shape), pictures.WHITE, np.uint8)
    cells[: len(images), 0] = images
    cells[: len(images), 1 : 1 + beside.shape[1]] = beside
    left = pictures.grid(cells[:, 0], 1, scale=scale)
    right = pictures.grid(cells[:, 1:].reshape(-1, *shape), NEAREST, scale=scale)
    gap = np.full((len(left), left.shape[1] // 4, 3), pictures.WHITE, np.uint8)
    return np.concatenate([left, gap, right], axis=1)
