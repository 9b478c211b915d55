"""What judging takes: passes of the extractor on the device, and the measures on the host."""

from __future__ import annotations

import functools
import time

import numpy as np

from sadajem_jax.evaluation import costs
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.quality import frechet, kid
from sadajem_jax.evaluation.quality.extractor import Extractor

EIGEN = 10  # operations of an eigendecomposition, in D^3, at a product's rate: about
TIMED = 1000  # rows of the product that is timed


def of_features(extractor: Extractor, image_shape: tuple[int, ...], count: int) -> Cost:
    """Of `count` images (H, W, channels) through an extractor, timed on one batch."""
    if not count:
        return Cost()
    flop, seconds = extractor.flop(image_shape), extractor.seconds(image_shape)
    return Cost(flop=float(count * flop), seconds=count * seconds)


def of_measures(n: int, m: int, dim: int) -> Cost:
    """Of all measures of n images beside m, with features of `dim`, on the host."""
    pairs = n * n + m * m + n * m
    subsets = kid.SUBSETS * 3 * min(kid.SIZE, n, m) ** 2
    flop = float(2 * dim * (pairs + subsets))
    return costs.total([_on_host(flop), of_distances(frechet.SIZES + 1, n, dim)])


def of_distances(count: int, rows: int, dim: int) -> Cost:
    """Of `count` Frechet distances of `rows` images, with features of `dim`, on the host."""
    return _on_host(float(2 * count * (rows * dim**2 + EIGEN * dim**3)))


def _on_host(flop: float) -> Cost:
    return Cost(flop=flop, seconds=flop * _seconds_per_flop())


@functools.cache
def _seconds_per_flop() -> float:
    """Of NumPy's products in float64 here."""
    x = np.ones((TIMED, TIMED))
    x @ x
    start = time.perf_counter()
    x @ x
    return (time.perf_counter() - start) / (2 * TIMED**3)
