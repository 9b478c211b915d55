"""Precision, recall, density and coverage: which images lie in the other set's neighbourhoods.

A set's neighbourhoods are balls around its rows that reach to the k-th nearest other row.

Sources: Kynkaanniemi et al. 2019 (arXiv 1904.06991), k = 3; Naeem et al. 2020 (arXiv 2002.09797),
k = 5.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sadajem_jax.evaluation.quality.measured import Measured

PRECISION_K, DENSITY_K = 3, 5
BLOCK = 500  # rows compared at a time
ROUNDING = 1e-12  # of a squared distance, as a share of the squared norms it is the difference of


def measures(features: np.ndarray, reference: np.ndarray) -> dict[str, Measured]:
    """All four.

    Args:
      features: [N, D] of the generated images.
      reference: [M, D] of real ones; all four depend on M too.

    Returns:
      precision: share of the generated in a real neighbourhood; recall: share of the real in a
      generated one; density: real neighbourhoods around a generated image, over k (may exceed 1);
      coverage: share of real neighbourhoods with a generated image in them. n is N.

    Raises:
      ValueError: if a set has no more than k rows.
    """
    middle = reference.mean(axis=0, dtype=np.float64)  # far from 0 differences lose digits
    fake, real = features - middle, reference - middle
    reach_fake = radii(fake, (PRECISION_K,))[:, 0]
    reach_real, reach_dense = radii(real, (PRECISION_K, DENSITY_K)).T
    precise, balls = np.zeros(len(fake), bool), np.zeros(len(fake))
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for rows, squares in _squares(fake, real):
        precise[rows] = (squares <= reach_real).any(axis=1)
        recalled |= (squares <= reach_fake[rows, None]).any(axis=0)
        inside = squares < reach_dense
        balls[rows] = inside.sum(axis=1)
        covered |= inside.any(axis=0)
    shares = {"precision": precise, "recall": recalled, "coverage": covered}
    found = {name: float(share.mean()) for name, share in shares.items()}
    found["density"] = float(balls.mean() / DENSITY_K)
    return {name: Measured(value, len(fake)) for name, value in found.items()}


def radii(rows: np.ndarray, ranks: tuple[int, ...]) -> np.ndarray:
    """Squared distances to the nearest other rows of the given ranks.

    Args:
      rows: [N, D] float64.
      ranks: 1 is the nearest other row.

    Returns:
      [N, ranks].

    Raises:
      ValueError: if there are too few rows.
    """
    if len(rows) <= max(ranks):
        raise ValueError(f"expected more than {max(ranks)} rows, found {len(rows)}")
    found = np.empty((len(rows), len(ranks)))
    for index, squares in _squares(rows, rows):
        # Rank 0 is the row itself.
        found[index] = np.partition(squares, ranks, axis=1)[:, list(ranks)]
    return found


def _squares(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of all pairs, [BLOCK, M] at a time; what is but rounding is 0."""
    norms_b = np.einsum("ij,ij->i", b, b)
    for start in range(0, len(a), BLOCK):
        rows = slice(start, start + BLOCK)
        norms = np.einsum("ij,ij->i", a[rows], a[rows])[:, None] + norms_b
        squares = norms - 2 * (a[rows] @ b.T)
        yield rows, np.where(squares > ROUNDING * norms, squares, 0.0)
