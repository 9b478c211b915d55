"""KID: unbiased, and the closed form of its kernel."""

from __future__ import annotations

import numpy as np
import pytest

from sadajem_jax.evaluation.quality import kid


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Of independent values."""
    return float(np.mean(values)), float(np.std(values) / np.sqrt(len(values)))


def test_is_unbiased_on_equal_laws() -> None:
    """Its mean over many small draws from one law is 0 within its error, which is small."""
    rng = np.random.default_rng(0)
    draws = [kid.discrepancy(*rng.normal(size=(2, 20, 4))) for _ in range(4000)]
    mean, error = mean_and_error(draws)
    assert abs(mean) < 4 * error
    assert error < 0.02  # with a row's pair with itself counted the mean would be above 0.5


def test_is_the_difference_of_three_moments() -> None:
    """On a line (x y + 1)^3 sees 3 (mean)^2 + 3 (second moment)^2 + (third)^2 of the difference."""
    rng = np.random.default_rng(0)
    shift, scale = 0.5, 1.3
    moments = shift, shift**2 + scale**2 - 1, shift**3 + 3 * shift * scale**2
    expected = 3 * moments[0] ** 2 + 3 * moments[1] ** 2 + moments[2] ** 2
    draws = [
        kid.discrepancy(rng.normal(size=(60, 1)), rng.normal(shift, scale, size=(50, 1)))
        for _ in range(3000)
    ]
    mean, error = mean_and_error(draws)
    assert abs(mean - expected) < 4 * error
    assert error < 0.05 * expected


def test_subsets_are_drawn_and_counted() -> None:
    """The mean over subsets has a spread, n is the generated number, a seed gives it again."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 5)).astype(np.float32), rng.normal(1, size=(200, 5))
    found = kid.distance(a, b, subsets=20, size=50)
    assert found.n == 300 and found.std is not None and found.std > 0
    assert found == kid.distance(a, b, subsets=20, size=50)
    assert found != kid.distance(a, b, subsets=20, size=50, seed=1)
    whole = kid.distance(a[:40], b[:40])  # fewer than 1,000: all of them, once
    assert whole.std is None
    assert whole.value == pytest.approx(kid.discrepancy(a[:40].astype(np.float64), b[:40]))
