"""The Frechet distance of two sets of features, each taken as a Gaussian; FID with Inception's.

Sources: Heusel et al. 2017 (arXiv 1706.08500); Chong and Forsyth 2020 (arXiv 1911.07023) for the
extrapolation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.linalg

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.quality.measured import Measured

BLOCK = 1000  # rows added up at a time
SIZES = 15  # numbers of images that the line is laid through
LEAST = 5000  # images of the smallest, or a tenth of all


class Moments(NamedTuple):
    """What a set of features is known by, in float64.

    Attributes:
      n: rows.
      mean: [D].
      covariance: [D, D], unbiased (n - 1).
    """

    n: int
    mean: np.ndarray
    covariance: np.ndarray


def moments(features: np.ndarray) -> Moments:
    """Mean and covariance, added up in float64 whatever the features are.

    Args:
      features: [N, D], N at least 2.

    Returns:
      The moments.

    Raises:
      ValueError: if there are fewer than two rows.
    """
    n = len(features)
    if n < 2:
        raise ValueError(f"a covariance needs at least two rows, found {n}")
    mean = features.mean(axis=0, dtype=np.float64)
    total = np.zeros((len(mean), len(mean)))
    for start in range(0, n, BLOCK):
        rows = features[start : start + BLOCK] - mean
        total += rows.T @ rows
    return Moments(n, mean, total / (n - 1))


def pooled(a: Moments, b: Moments) -> Moments:
    """The moments of two sets of features taken as one.

    Source: Chan, Golub and LeVeque 1983, the pairwise update, in several dimensions.
    """
    n, apart = a.n + b.n, b.mean - a.mean
    total = (a.n - 1) * a.covariance + (b.n - 1) * b.covariance
    total += np.outer(apart, apart) * (a.n * b.n / n)
    return Moments(n, a.mean + apart * (b.n / n), total / (n - 1))


def square_root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root [D, D] of a covariance, singular or not."""
    values, vectors = scipy.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def distance(a: Moments, b: Moments, root_of_b: np.ndarray | None = None) -> Measured:
    """Squared Frechet distance: |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^1/2.

    (S1 S2)^1/2 has the trace of (S2^1/2 S1 S2^1/2)^1/2, which is symmetric: its eigenvalues are
    real, and those that rounding made negative are 0. S1 S2 itself has them too, but is not
    symmetric, and a matrix square root fails where a covariance is singular.

    Args:
      a: of the generated images.
      b: of the reference.
      root_of_b: `square_root(b.covariance)`, if it is at hand.

    Returns:
      The distance, in squared units of the features; n is a's.
    """
    root = square_root(b.covariance) if root_of_b is None else root_of_b
    shared = _trace_of_root(root @ a.covariance @ root)
    return _put_together(a.n, a.mean, float(np.trace(a.covariance)), b, shared)


def of_features(
    features: np.ndarray, reference: Moments, root_of_reference: np.ndarray | None = None
) -> Measured:
    """The distance of features [N, D] from a reference; fast where N is below D.

    Of the centred rows X, S2^1/2 S1 S2^1/2 is (X S2^1/2)^T (X S2^1/2) / (N - 1), and the product
    in the other order, N x N, has the same eigenvalues but for zeros.

    Args:
      features: of the generated images, N at least 2.
      reference: of the reference.
      root_of_reference: `square_root(reference.covariance)`, if it is at hand.
    """
    n, dim = features.shape
    root = root_of_reference
    root = square_root(reference.covariance) if root is None else root
    if n >= dim:
        return distance(moments(features), reference, root)
    mean = features.mean(axis=0, dtype=np.float64)
    rows = (features - mean) / np.sqrt(max(n - 1, 1))
    seen = rows @ root
    return _put_together(n, mean, float(np.sum(rows**2)), reference, _trace_of_root(seen @ seen.T))


def _trace_of_root(matrix: np.ndarray) -> float:
    """Of a symmetric matrix, by its eigenvalues; those that rounding made negative are 0."""
    values = scipy.linalg.eigvalsh((matrix + matrix.T) / 2, check_finite=False)
    return float(np.sqrt(np.maximum(values, 0)).sum())


def _put_together(n: int, mean: np.ndarray, trace: float, b: Moments, shared: float) -> Measured:
    apart = float(np.sum((mean - b.mean) ** 2))
    return Measured(apart + trace + float(np.trace(b.covariance)) - 2 * shared, n)


def extrapolated(
    features: np.ndarray,
    reference: Moments,
    root_of_reference: np.ndarray | None = None,
    *,
    seed: int = 0,
    progress: Advance | None = None,
) -> Measured:
    """The distance that endless images would have: a line in 1/n, read off at 0.

    The distance of n images is too large by about a constant over n. It is taken of 15 numbers of
    images, evenly spaced up to all of them, drawn without replacement.

    Args:
      features: [N, D] of the generated images.
      reference: of the reference, whose own bias stays.
      root_of_reference: `square_root(reference.covariance)`, if it is at hand.
      seed: of the draws.
      progress: is told how many of the 15 distances are taken.

    Returns:
      The distance, which may be negative by chance, and N.
    """
    n = len(features)
    sizes = np.linspace(max(min(LEAST, n // 10), 2), n, SIZES).astype(int)
    rng, root = np.random.default_rng(seed), root_of_reference
    root = square_root(reference.covariance) if root is None else root
    distances = []
    for size in sizes:
        rows = features[rng.choice(n, size, replace=False)]
        distances.append(of_features(rows, reference, root).value)
        if progress:
            progress(len(distances), SIZES)
    _, at_zero = np.polyfit(1 / sizes, distances, 1)
    return Measured(float(at_zero), n)
