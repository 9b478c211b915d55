"""Forwards of a pass: batches together or apart, in norm groups, in parts that lie apart."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import forwards, row_parts
from sadajem_jax.objective import Passes
from sadajem_jax.row_groups import Shares
from tests.models import TwoLayers

MODEL = TwoLayers()


@pytest.fixture(scope="module")
def images() -> Passes:
    """Batches of 8, 8 and 16 images, each with a brightness of its own that rises over its rows."""
    rng = np.random.default_rng(0)

    def draw(size: int) -> jax.Array:
        slope = np.linspace(0, rng.normal(), size)[:, None, None, None]
        return jnp.asarray(rng.normal(size=(size, 4, 4, 1)) + slope, jnp.float32)

    return Passes(draw(8), draw(8), (), draw(16))


@pytest.fixture(scope="module")
def variables(images: Passes) -> Any:
    """Of the network."""
    return jax.jit(MODEL.init)(jax.random.key(0), images.data)


def by_hand(variables: Any, x: jax.Array, norm_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of each run of rows alone, and the mean of the runs' moments."""
    runs = [
        forwards.of_groups(MODEL, variables, run, Shares()) for run in jnp.split(x, norm_groups)
    ]
    logits, moments = zip(*runs, strict=True)
    return np.concatenate(logits), np.mean(np.stack(moments), axis=0)


@pytest.mark.parametrize("norm_groups", [1, 2, 8])
def test_a_norm_group_is_a_batch_of_its_own(
    images: Passes, variables: Any, norm_groups: int
) -> None:
    """Each run of rows is normalised as if it were alone; the moments are the groups' means."""
    expected = by_hand(variables, images.labelled, norm_groups)
    x = images.labelled
    logits, moments = forwards.of_groups(MODEL, variables, x, Shares(norm_groups))
    assert len(moments) == norm_groups
    found = logits, forwards.mean_of_groups(moments)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm_groups, parts", [(1, 1), (1, 4), (2, 1), (2, 4), (4, 2), (4, 4)])
def test_neither_form_nor_parts_change_a_pass(
    images: Passes, variables: Any, norm_groups: int, parts: int
) -> None:
    """Together or apart, in any parts: logits and moments are those of each batch by hand."""
    batches = (images.data, images.negatives, images.labelled)
    logits, moments = zip(*(by_hand(variables, x, norm_groups) for x in batches), strict=True)
    for together in (True, False):
        found, rows = forwards.of_pass(
            MODEL, variables, images, together=together, shares=Shares(norm_groups, parts)
        )
        for a, b in zip(jax.tree.leaves(found), logits, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(rows, np.concatenate(moments), rtol=1e-4, atol=1e-5)


def test_parts_lie_behind_one_another() -> None:
    """Two batches in two parts: a half of each, then the other halves; and back again."""
    batches = [jnp.arange(4), 10 + jnp.arange(2)]
    joined = row_parts.together(batches, 2)
    assert joined.tolist() == [0, 1, 10, 2, 3, 11]
    for found, batch in zip(row_parts.asunder(joined, [4, 2], 2), batches, strict=True):
        np.testing.assert_array_equal(found, batch)
