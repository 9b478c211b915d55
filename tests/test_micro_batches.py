"""Micro-batches: the same gradient without batch norm, a stated other one with it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sadajem_jax import micro_batches, objective, sgld, train_state, train_step
from sadajem_jax.wide_resnet import WideResNet


def updated(norm: str, parts: int, *, unroll: bool) -> Any:
    """Parameters after an update of a small network, worked through in `parts`."""
    model, tx = WideResNet(10, 1, 3, norm), optax.with_extra_args_support(optax.sgd(0.1))
    keys = jax.random.split(jax.random.key(0), 6)
    images = [jax.random.uniform(k, (4, 8, 8, 1), minval=-1, maxval=1) for k in keys[:3]]
    x_data, x_init, x_label = images
    noise_keys = jax.random.split(keys[3], 4)
    labels = jnp.array([0, 1, 2, 0])
    batch = train_step.Batch(x_data, x_init, x_label, labels, noise_keys)
    config = train_step.StepConfig(
        sgld.Langevin(), 1, unroll, 1, objective.Weights(), 1, False, micro_batches=parts
    )
    state = train_state.create(keys[4], model, tx, (8, 8, 1), jnp.zeros((0, 1)))
    run = jax.jit(lambda s, b: train_step.update(s, b, model=model, tx=tx, config=config)[0])
    return run(state, batch)


@pytest.mark.parametrize("unroll", [True, False])
def test_without_batch_norm_parts_do_not_matter(unroll: bool) -> None:
    """Without batch norm, two halves give the whole batch's update."""
    whole, halves = updated("none", 1, unroll=unroll), updated("none", 2, unroll=unroll)
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(halves.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_with_batch_norm_each_part_has_its_own_moments() -> None:
    """With batch norm the parts matter, and the statistics are still those of the whole images."""
    whole, halves = updated("batch", 1, unroll=True), updated("batch", 2, unroll=True)
    gap = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), whole.params, halves.params)
    assert max(jax.tree.leaves(gap)) > 1e-5
    first, second = (s.batch_stats["layer1_0_bn1"]["mean"] for s in (whole, halves))
    np.testing.assert_allclose(first, second, atol=0.02)


def test_mean_over_parts_is_the_mean() -> None:
    """The mean over parts of a sum is the sum over all rows by the number of parts."""
    rows = jnp.arange(12.0).reshape(6, 2)
    for unroll in (True, False):
        parts = micro_batches.split(rows, 3)
        mean = micro_batches.mean_over_parts(jnp.sum, parts, unroll=unroll)
        assert float(mean) == float(rows.sum()) / 3
