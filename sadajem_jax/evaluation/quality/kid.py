"""Kernel Inception Distance: the squared maximum mean discrepancy under a polynomial kernel.

Source: Binkowski et al. 2018 (arXiv 1801.01401).
"""

from __future__ import annotations

import numpy as np

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.quality.measured import Measured

SUBSETS, SIZE = 100, 1000
COEFFICIENT = 1.0


def distance(
    features: np.ndarray,
    reference: np.ndarray,
    *,
    subsets: int = SUBSETS,
    size: int = SIZE,
    seed: int = 0,
    progress: Advance | None = None,
) -> Measured:
    """KID: the mean over subsets of the unbiased estimate of each.

    Args:
      features: [N, D] of the generated images.
      reference: [M, D] of the reference.
      subsets: how many; each draws without replacement from both sets.
      size: images of a subset; where a set has fewer, all of it: the estimate is unbiased at any
        size, and negative by chance.
      seed: of the draws.
      progress: is told how many subsets are done.

    Returns:
      The mean, N, and the standard deviation over subsets, if there are several.

    Raises:
      ValueError: if a set has fewer than two rows.
    """
    least = min(size, len(features), len(reference))
    if least < 2:
        raise ValueError(f"KID needs at least two rows of each, found {least}")
    if least == len(features) == len(reference):
        subsets = 1  # there is but one
    rng = np.random.default_rng(seed)
    found = []
    for done in range(1, subsets + 1):
        x = features[rng.choice(len(features), least, replace=False)]
        y = reference[rng.choice(len(reference), least, replace=False)]
        found.append(discrepancy(x.astype(np.float64), y.astype(np.float64)))
        if progress:
            progress(done, subsets)
    std = float(np.std(found)) if subsets > 1 else None
    return Measured(float(np.mean(found)), len(features), std)


def discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared discrepancy of x [m, D] and y [n, D]: pairs of a row with itself left out.

    Source: Gretton et al. 2012, eq. 3, with the kernel (x . y / D + 1)^3.
    """
    m, n = len(x), len(y)
    among_x, among_y, between = kernel(x, x), kernel(y, y), kernel(x, y)
    inside_x = (among_x.sum() - np.trace(among_x)) / (m * (m - 1))
    inside_y = (among_y.sum() - np.trace(among_y)) / (n * (n - 1))
    return float(inside_x + inside_y - 2 * between.mean())


def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x . y / D + 1)^3 of all pairs: [m, n]."""
    inner = x @ y.T / x.shape[1] + COEFFICIENT
    return inner * inner * inner  # a power takes ten times as long
