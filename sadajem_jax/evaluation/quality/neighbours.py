"""Precision, recall, density and coverage: which images lie in the other set's neighbourhoods.

A set's neighbourhoods are balls around its rows that reach to the k-th nearest other row.

Sources: Kynkaanniemi et al. 2019 (arXiv 1904.06991), k = 3; Naeem et al. 2020 (arXiv 2002.09797),
k = 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.quality.measured import Measured

PRECISION_K, DENSITY_K = 3, 5
BLOCK = 500  # rows compared at a time
ROUNDING = 1e-12  # of a squared distance, as a share of the squared norms it is the difference of


class Compared(NamedTuple):
    """Generated rows [N] and real ones [M], row by row.

    Attributes:
      precise: [N] bool, in a real neighbourhood (k = 3).
      recalled: [M] bool, in a generated one (k = 3).
      balls: [N] real neighbourhoods (k = 5) around each generated row.
      covered: [M] bool, whether a generated row lies in this neighbourhood (k = 5).
      apart: [N] squared distance to the nearest real row.
      missed: [M] squared distance to the nearest generated row.
    """

    precise: np.ndarray
    recalled: np.ndarray
    balls: np.ndarray
    covered: np.ndarray
    apart: np.ndarray
    missed: np.ndarray


def measures(
    features: np.ndarray, reference: np.ndarray, progress: Advance | None = None
) -> dict[str, Measured]:
    """All four; see `compare` and `shares`."""
    return shares(compare(features, reference, progress))


def shares(found: Compared) -> dict[str, Measured]:
    """The four measures of a comparison.

    Returns:
      precision: share of the generated in a real neighbourhood; recall: share of the real in a
      generated one; density: real neighbourhoods around a generated image, over k (may exceed 1);
      coverage: share of real neighbourhoods with a generated image in them. n is N.
    """
    rows = {"precision": found.precise, "recall": found.recalled, "coverage": found.covered}
    values = {name: float(row.mean()) for name, row in rows.items()}
    values["density"] = float(found.balls.mean() / DENSITY_K)
    return {name: Measured(value, len(found.precise)) for name, value in values.items()}


def compare(
    features: np.ndarray, reference: np.ndarray, progress: Advance | None = None
) -> Compared:
    """Which rows lie in the other set's neighbourhoods, exactly, by all pairs.

    Args:
      features: [N, D] of the generated images.
      reference: [M, D] of real ones; all that is found depends on M too.
      progress: is told how many rows are compared, of the three passes that it takes.

    Returns:
      The comparison.

    Raises:
      ValueError: if a set has no more than k rows.
    """
    middle = reference.mean(axis=0, dtype=np.float64)  # far from 0 differences lose digits
    fake, real = features - middle, reference - middle
    reach_fake = radii(fake, (PRECISION_K,), progress)[:, 0]
    reach_real, reach_dense = radii(real, (PRECISION_K, DENSITY_K), progress).T
    n, m = len(fake), len(real)
    found = Compared(
        *(np.zeros(n, bool), np.zeros(m, bool), np.zeros(n, int), np.zeros(m, bool)),
        *(np.zeros(n), np.full(m, np.inf)),
    )
    for rows, squares in _squares(fake, real, progress):
        found.precise[rows] = (squares <= reach_real).any(axis=1)
        found.recalled[:] |= (squares <= reach_fake[rows, None]).any(axis=0)
        inside = squares < reach_dense
        found.balls[rows] = inside.sum(axis=1)
        found.covered[:] |= inside.any(axis=0)
        found.apart[rows] = squares.min(axis=1)
        found.missed[:] = np.minimum(found.missed, squares.min(axis=0))
    return found


def radii(rows: np.ndarray, ranks: tuple[int, ...], progress: Advance | None = None) -> np.ndarray:
    """Squared distances to the nearest other rows of the given ranks.

    Args:
      rows: [N, D] float64.
      ranks: 1 is the nearest other row.
      progress: is told how many rows are done.

    Returns:
      [N, ranks].

    Raises:
      ValueError: if there are too few rows.
    """
    if len(rows) <= max(ranks):
        raise ValueError(f"expected more than {max(ranks)} rows, found {len(rows)}")
    found = np.empty((len(rows), len(ranks)))
    for index, squares in _squares(rows, rows, progress):
        # Rank 0 is the row itself.
        found[index] = np.partition(squares, ranks, axis=1)[:, list(ranks)]
    return found


def _squares(
    a: np.ndarray, b: np.ndarray, progress: Advance | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of all pairs, [BLOCK, M] at a time; what is but rounding is 0."""
    norms_b = np.einsum("ij,ij->i", b, b)
    for start in range(0, len(a), BLOCK):
        rows = slice(start, start + BLOCK)
        norms = np.einsum("ij,ij->i", a[rows], a[rows])[:, None] + norms_b
        squares = norms - 2 * (a[rows] @ b.T)
        yield rows, np.where(squares > ROUNDING * norms, squares, 0.0)
        if progress:
            progress(min(start + BLOCK, len(a)), len(a))
