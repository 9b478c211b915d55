"""Lanczos and Hutchinson on matrices whose spectrum is known."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.evaluation.landscape import hessian
from tests.evaluation.landscape.networks import symmetric

KEY = jax.random.key(0)


def product_of(matrix: np.ndarray) -> Callable[[jax.Array], jax.Array]:
    """Its products, in a program that is dispatched, with a check that they are concrete."""
    run = jax.jit(lambda v: jnp.asarray(matrix, v.dtype) @ v)

    def product(v: jax.Array) -> jax.Array:
        assert np.isfinite(np.asarray(v)).all()
        return run(v)

    return product


@pytest.mark.usefixtures("x64")
def test_the_largest_eigenvalues_are_numpys() -> None:
    """With as many steps as rows the ends of an indefinite spectrum are numpy's, in float64."""
    matrix = symmetric(12)
    found = hessian.spectrum(product_of(matrix), jnp.zeros(12), KEY, count=3, steps=40)
    true = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(found.largest, true[:-4:-1], rtol=1e-9)
    np.testing.assert_allclose(found.lowest, true[0], rtol=1e-9)
    assert found.error < 1e-8


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("steps", [3, 6, 12])
def test_a_true_eigenvalue_is_within_the_error(steps: int) -> None:
    """With few steps each eigenvalue is off by at most the error, which is not far too large."""
    matrix = symmetric(60, seed=1)
    found = hessian.spectrum(product_of(matrix), jnp.zeros(60), KEY, count=3, steps=steps)
    true = np.linalg.eigvalsh(matrix)
    distance = np.abs(found.largest[:, None] - true).min(axis=1)
    assert (distance <= found.error * (1 + 1e-9)).all()
    assert found.error < np.abs(true).max()
    assert found.largest[0] <= true[-1] + 1e-9


def test_rounding_shows_no_eigenvalue_twice() -> None:
    """In float32, long after the largest has converged, the second is still the second."""
    matrix = np.diag(np.concatenate([[1000.0, 10.0], np.linspace(0, 1, 78)]))
    found = hessian.spectrum(product_of(matrix), jnp.zeros(80, jnp.float32), KEY, count=2, steps=40)
    np.testing.assert_allclose(found.largest, [1000, 10], rtol=1e-4)


def test_products_are_asked_for_one_by_one() -> None:
    """A product runs as plain Python once a step, so that it can tell how far things are."""
    calls: list[int] = []

    def product(v: jax.Array) -> jax.Array:
        calls.append(v.size)
        return 2 * v

    hessian.spectrum(product, jnp.zeros(9), KEY, count=1, steps=1)
    assert calls == [9]


@pytest.mark.parametrize(("count", "steps"), [(4, 3), (10, 40), (0, 3)])
def test_more_eigenvalues_than_the_steps_find_are_refused(count: int, steps: int) -> None:
    """Nine rows have no tenth, and three steps find no fourth: no product is made for them."""

    def never(v: jax.Array) -> jax.Array:
        raise AssertionError("a product was made")

    with pytest.raises(ValueError, match=f"steps find 1 to .* eigenvalues, asked for {count}"):
        hessian.spectrum(never, jnp.zeros(9), KEY, count=count, steps=steps)


def test_the_trace_of_a_diagonal_matrix_is_exact() -> None:
    """Signs see nothing but the diagonal: the estimate is the trace, its standard error 0."""
    matrix = np.diag(np.arange(1.0, 9))
    found = hessian.trace(product_of(matrix), jnp.zeros(8), KEY, probes=3)
    assert found == (36.0, 0.0)


@pytest.mark.usefixtures("x64")
def test_the_trace_has_its_standard_error() -> None:
    """The estimate is within four standard errors, and these are Hutchinson's."""
    matrix, probes = symmetric(30, seed=2), 400
    found = hessian.trace(product_of(matrix), jnp.zeros(30), KEY, probes=probes)
    beside = np.sum(matrix**2) - np.sum(np.diag(matrix) ** 2)
    np.testing.assert_allclose(found.stderr, np.sqrt(2 * beside / probes), rtol=0.15)
    assert abs(found.mean - np.trace(matrix)) < 4 * found.stderr
