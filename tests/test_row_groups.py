"""Groups of rows: their means, and a value of each on its rows, with the gradients of both."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import row_groups, row_parts
from sadajem_jax.row_groups import Shares


def draw() -> np.ndarray:
    """16 rows of 2 x 3 pixels, 5 channels."""
    return np.random.default_rng(0).normal(size=(16, 2, 3, 5)).astype(np.float32)


@pytest.mark.parametrize("sizes", [(4, 4, 8), (3, 13), (5, 5, 6), (8, 8)])
def test_means_and_values_are_those_of_slices(sizes: tuple[int, ...]) -> None:
    """Means over a group's rows and pixels; a group's value on each of its rows."""
    x, groups = draw(), row_groups.layout(sizes, Shares()).groups
    expected = np.stack([part.mean((0, 1, 2)) for part in np.split(x, np.cumsum(sizes)[:-1])])
    np.testing.assert_allclose(row_groups.means(jnp.asarray(x), groups), expected, atol=1e-6)
    on_rows = row_groups.on_rows(jnp.asarray(expected), groups, 16)
    np.testing.assert_array_equal(on_rows[:, 0, 0], np.repeat(expected, sizes, axis=0))
    np.testing.assert_array_equal(row_groups.rows(groups, 16), sizes)


def test_a_group_s_parts_need_not_stand_together() -> None:
    """Parts 0, 1, 0, 1: the first group has rows 0 to 3 and 8 to 11."""
    x, groups = draw(), (0, 1, 0, 1)
    first = np.repeat([True, False, True, False], 4)
    expected = np.stack([x[first].mean((0, 1, 2)), x[~first].mean((0, 1, 2))])
    np.testing.assert_allclose(row_groups.means(jnp.asarray(x), groups), expected, atol=1e-6)
    on_rows = row_groups.on_rows(jnp.asarray(expected), groups, 16)[:, 0, 0]
    np.testing.assert_array_equal(on_rows, np.where(first[:, None], *expected))


@pytest.mark.parametrize(
    "norm_groups, parts, times", [(1, 1, 1), (1, 4, 1), (2, 4, 2), (4, 4, 4), (4, 2, 2), (3, 2, 1)]
)
def test_groups_of_their_own_are_summed_within_their_parts(
    norm_groups: int, parts: int, times: int
) -> None:
    """Where each part has groups of its own, alike in all, no sum goes beyond it."""
    sizes = (12, 12, 24)
    laid = row_groups.layout(sizes, Shares(norm_groups, parts))
    assert row_groups._repeats(laid.groups)[0] == times
    assert row_groups.count(laid.groups) == len(laid.owners) == 3 * norm_groups
    runs = [np.repeat(np.arange(norm_groups), size // norm_groups) for size in sizes]
    names = np.concatenate([10 * batch + run for batch, run in enumerate(runs)])
    lying = row_parts.together(jnp.split(jnp.asarray(names), [12, 24]), parts)
    x = np.broadcast_to(np.asarray(lying, np.float32)[:, None, None, None], (48, 2, 2, 3))
    means = row_groups.means(jnp.asarray(x), laid.groups)
    np.testing.assert_array_equal(row_groups.on_rows(means, laid.groups, 48)[:, 0, 0], x[:, 0, 0])
    np.testing.assert_array_equal(means[:, 0] // 10, laid.owners)


def test_what_does_not_divide_is_refused() -> None:
    """A batch that is no multiple of groups or parts; the error says which."""
    with pytest.raises(ValueError, match=r"norm_groups=4, parts=2.*found \[8, 6\]"):
        row_groups.layout([8, 6], Shares(norm_groups=4, parts=2))


def test_no_row_is_looked_up() -> None:
    """Neither they nor their gradients gather or scatter, which are slow on a GPU."""
    groups = (0, 1, 2, 2)

    def both(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(row_groups.on_rows(row_groups.means(x, groups), groups, 16) * x))

    program = str(jax.make_jaxpr(jax.grad(both))(jnp.ones((16, 2, 2, 3))))
    assert "gather" not in program and "scatter" not in program and "dot" not in program


def test_one_group_is_the_whole_batch() -> None:
    """Of none or one group the means are the batch's, [C], and go for all rows as they are."""
    x = jnp.arange(24.0).reshape(2, 2, 2, 3)
    for groups in ((), (0,), (0, 0)):
        mean = row_groups.means(x, groups)
        np.testing.assert_allclose(mean, x.mean((0, 1, 2)))
        assert row_groups.on_rows(mean, groups, 2) is mean


def test_a_group_that_is_not_finite_leaves_the_others_alone() -> None:
    """NaN in one group's value reaches that group's rows only."""
    found = row_groups.on_rows(jnp.array([[1.0], [jnp.nan]]), (0, 1), 4)[:, 0, 0, 0]
    np.testing.assert_array_equal(found, [1, 1, np.nan, np.nan])
