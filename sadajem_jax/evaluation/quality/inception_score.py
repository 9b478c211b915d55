"""Inception Score: exp of the mean KL of an image's classes from those of all images.

Sources: Salimans et al. 2016 (arXiv 1606.03498); Barratt and Sharma 2018 on how it depends on n.
"""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from sadajem_jax.evaluation.quality.measured import Measured

PLAIN_SPLITS = 10
IMAGES_A_SPLIT = 5000  # in the released program


def released_splits(n: int) -> int:
    """Splits of n images in the released program: max(1, n // 5000).

    Examples:
      >>> released_splits(999), released_splits(10_000)
      (1, 2)
    """
    return max(1, n // IMAGES_A_SPLIT)


def score(probs: np.ndarray, splits: int) -> Measured:
    """The mean over splits, consecutive rows each; at least 1, at most the number of classes.

    Args:
      probs: [N, C], rows add up to 1; a probability of 0 adds nothing.
      splits: parts whose own means are compared with; N at least.

    Returns:
      The mean, N, and the (population) standard deviation over splits.

    Raises:
      ValueError: if there are more splits than rows.
    """
    n = len(probs)
    if not 1 <= splits <= n:
        raise ValueError(f"expected 1 to {n} splits of {n} rows, found {splits}")
    probs = np.asarray(probs, np.float64)
    found = []
    for split in range(splits):
        part = probs[split * n // splits : (split + 1) * n // splits]
        found.append(np.exp(rel_entr(part, part.mean(axis=0)).sum(axis=1).mean()))
    return Measured(float(np.mean(found)), n, float(np.std(found)))
