"""Groups of rows: their means, and a value of each on its rows, with the gradients of both."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import row_groups


@pytest.mark.parametrize("groups", [(4, 4, 8), (3, 13), (5, 5, 6), (8, 8)])
def test_means_and_values_are_those_of_slices(groups: tuple[int, ...]) -> None:
    """Means over a group's rows and pixels; a group's value on each of its rows."""
    x = np.random.default_rng(0).normal(size=(16, 2, 3, 5)).astype(np.float32)
    parts = np.split(x, np.cumsum(groups)[:-1])
    expected = np.stack([part.mean((0, 1, 2)) for part in parts])
    np.testing.assert_allclose(row_groups.means(jnp.asarray(x), groups), expected, atol=1e-6)
    on_rows = row_groups.on_rows(jnp.asarray(expected), groups)
    np.testing.assert_array_equal(on_rows[:, 0, 0], np.repeat(expected, groups, axis=0))


def test_no_row_is_looked_up() -> None:
    """Neither they nor their gradients gather or scatter, which are slow on a GPU."""
    groups = (4, 4, 8)

    def both(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(row_groups.on_rows(row_groups.means(x, groups), groups) * x))

    program = str(jax.make_jaxpr(jax.grad(both))(jnp.ones((16, 2, 2, 3))))
    assert "gather" not in program and "scatter" not in program and "dot" not in program


def test_one_group_is_the_whole_batch() -> None:
    """Of none or one group the means are the batch's, [C], and go for all rows as they are."""
    x = jnp.arange(24.0).reshape(2, 2, 2, 3)
    for groups in ((), (2,)):
        mean = row_groups.means(x, groups)
        np.testing.assert_allclose(mean, x.mean((0, 1, 2)))
        assert row_groups.on_rows(mean, groups) is mean


def test_a_group_that_is_not_finite_leaves_the_others_alone() -> None:
    """NaN in one group's value reaches that group's rows only."""
    found = row_groups.on_rows(jnp.array([[1.0], [jnp.nan]]), (2, 2))[:, 0, 0, 0]
    np.testing.assert_array_equal(found, [1, 1, np.nan, np.nan])
