"""The Frechet distance: golden values, closed forms, and singular covariances."""

from __future__ import annotations

import pathlib
import time

import numpy as np
import pytest

from sadajem_jax.evaluation.quality.frechet import (
    Moments,
    distance,
    extrapolated,
    moments,
    of_features,
)
from tests import places


@pytest.mark.parametrize(
    "path", places.golden_files("frechet/full/value"), ids=lambda p: p.stem if p else "none"
)
def test_is_the_released_formulas_value(path: pathlib.Path | None) -> None:
    """Of every pair of the file, full rank and singular, to 1e-6."""
    arrays = places.opened(path)
    names = [name.removesuffix("/value") for name in arrays if name.startswith("frechet/")]
    names = sorted({name for name in names if f"{name}/value" in arrays})
    assert names
    for name in names:
        found = distance(moments(arrays[f"{name}/a"]), moments(arrays[f"{name}/b"]))
        np.testing.assert_allclose(found.value, arrays[f"{name}/value"], rtol=1e-6)
        assert found.n == len(arrays[f"{name}/a"])


def gaussian(rng: np.random.Generator, dim: int, rank: int) -> Moments:
    """Moments of a Gaussian of some rank."""
    factor = rng.normal(size=(dim, rank))
    return Moments(1000, rng.normal(size=dim), factor @ factor.T / rank)


@pytest.mark.parametrize("rank", [3, 40])
def test_no_distance_from_itself(rank: int) -> None:
    """It is 0 to rounding, and symmetric, whether the covariance is singular or not."""
    rng = np.random.default_rng(0)
    a, b = gaussian(rng, 20, rank), gaussian(rng, 20, rank)
    assert abs(distance(a, a).value) < 1e-5
    np.testing.assert_allclose(distance(a, b).value, distance(b, a).value, rtol=1e-6)
    assert distance(a, b).value > 1


@pytest.mark.parametrize("n", [2, 12, 50])
def test_fewer_rows_than_features_are_no_other_distance(n: int) -> None:
    """Of 2, 12 and 50 rows of 20 features it is what their moments give."""
    rng = np.random.default_rng(0)
    rows, law = rng.normal(1, 2, size=(n, 20)), gaussian(rng, 20, 40)
    expected = distance(moments(rows), law)
    found = of_features(rows, law)
    assert found.n == n
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)


def test_closed_form_where_covariances_commute() -> None:
    """It is |m1 - m2|^2 + sum (s1 - s2)^2 of the deviations along shared axes."""
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(9, 9)))
    (s1, s2), (m1, m2) = rng.uniform(0, 2, (2, 9)), rng.normal(size=(2, 9))
    s1[0] = s2[1] = 0
    a = Moments(10, m1, (axes * s1**2) @ axes.T)
    b = Moments(10, m2, (axes * s2**2) @ axes.T)
    expected = np.sum((m1 - m2) ** 2) + np.sum((s1 - s2) ** 2)
    np.testing.assert_allclose(distance(a, b).value, expected, rtol=1e-6)


def test_agrees_with_the_eigenvalues_of_the_product() -> None:
    """The unsymmetric product's eigenvalues, by another algorithm, give the same trace."""
    rng = np.random.default_rng(1)
    a, b = gaussian(rng, 30, 60), gaussian(rng, 30, 60)
    roots = np.sqrt(np.linalg.eigvals(a.covariance @ b.covariance).real).sum()
    spread = np.trace(a.covariance + b.covariance)
    expected = np.sum((a.mean - b.mean) ** 2) + spread - 2 * roots
    np.testing.assert_allclose(distance(a, b).value, expected, rtol=1e-9)


def test_moments_are_exact_far_from_zero() -> None:
    """Float32 features around 1000 have the covariance that float64 gives, over several blocks."""
    rows = (1000 + np.random.default_rng(0).normal(size=(2500, 6))).astype(np.float32)
    found = moments(rows)
    np.testing.assert_allclose(found.covariance, np.cov(rows.astype(np.float64).T), rtol=1e-9)
    assert found.n == 2500 and found.mean.dtype == np.float64
    with pytest.raises(ValueError, match="two rows"):
        moments(rows[:1])


def test_inceptions_size_takes_seconds() -> None:
    """2048 x 2048 of rank 299: 0 from itself to a millionth of its trace, in less than a minute."""
    rows = np.random.default_rng(0).normal(size=(300, 2048)).astype(np.float32)
    a = moments(rows)
    start = time.process_time()
    found = distance(a, a).value
    assert time.process_time() - start < 60
    assert abs(found) < 1e-6 * np.trace(a.covariance)


def test_the_line_takes_the_bias_away() -> None:
    """Of equal laws the distance of n rows is above 0; read off at infinity it is about 0."""
    rng = np.random.default_rng(0)
    law = Moments(10**9, np.zeros(30), np.eye(30))
    sets = rng.normal(size=(8, 1000, 30))
    biased = np.mean([distance(moments(rows), law).value for rows in sets])
    found = [extrapolated(rows, law, seed=seed).value for seed, rows in enumerate(sets)]
    assert biased > 0.2
    assert abs(np.mean(found)) < 0.1 * biased
