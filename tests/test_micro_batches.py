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

pytestmark = pytest.mark.usefixtures("compiled_in_haste")

STEPS = 3


def batch() -> train_step.Batch:
    """Four random images of each kind."""
    keys = jax.random.split(jax.random.key(0), 6)
    images = [jax.random.uniform(k, (4, 8, 8, 1), minval=-1, maxval=1) for k in keys[:3]]
    x_data, x_init, x_label = images
    noise_keys = jax.random.split(keys[3], 4)
    return train_step.Batch(x_data, x_init, x_label, jnp.array([0, 1, 2, 0]), noise_keys)


def first_state(model: WideResNet, tx: optax.GradientTransformation) -> Any:
    """A state without a buffer."""
    return train_state.create(jax.random.key(1), model, tx, (8, 8, 1), jnp.zeros((0, 1)))


def step_config(parts: int, unroll: bool, num_steps: int = 1) -> train_step.StepConfig:
    """Constants of a step in `parts`."""
    weights = objective.Weights()
    return train_step.StepConfig(
        sgld.Langevin(), num_steps, unroll, 1, weights, 1, False, micro_batches=parts
    )


def sampled(norm: str, parts: int, *, unroll: bool) -> sgld.SgldInfo:
    """What the chains of a small network tell, worked through in `parts`."""
    model = WideResNet(10, 1, 3, norm)
    state, config = first_state(model, optax.sgd(0.1)), step_config(parts, unroll, STEPS)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return jax.jit(lambda b: train_step.negative_samples(model, variables, b, config)[1])(batch())


def updated(norm: str, parts: int, *, unroll: bool) -> Any:
    """The state after an update of a small network, worked through in `parts`."""
    model, tx = WideResNet(10, 1, 3, norm), optax.with_extra_args_support(optax.sgd(0.1))
    config = step_config(parts, unroll)
    run = jax.jit(lambda s, b: train_step.update(s, b, model=model, tx=tx, config=config)[0])
    return run(first_state(model, tx), batch())


@pytest.mark.parametrize("unroll", [True, False])
def test_the_chain_s_info_is_row_by_row(unroll: bool) -> None:
    """Without batch norm two parts tell of every step [K, B] what the whole batch tells, in order.

    The moments, which have no rows, are the mean of the parts'.
    """
    whole, halves = sampled("none", 1, unroll=unroll), sampled("none", 2, unroll=unroll)
    assert halves.log_density.shape == halves.score_norm.shape == (STEPS, 4)
    np.testing.assert_allclose(halves.log_density, whole.log_density, rtol=1e-5)
    np.testing.assert_allclose(halves.score_norm, whole.score_norm, rtol=1e-4)
    assert len(np.unique(np.round(halves.log_density, 4))) == STEPS * 4  # an order can be wrong
    moments = jax.tree.leaves(sampled("batch", 2, unroll=unroll).aux)
    assert {leaf.shape[0] for leaf in moments} == {STEPS}


def test_joining_undoes_splitting() -> None:
    """Parts joined on their rows' axis are the rows in their order, also where there are none."""
    rows = jnp.arange(24).reshape(2, 6, 2)
    parts = jnp.stack(jnp.split(rows, 3, axis=1))
    np.testing.assert_array_equal(micro_batches.join(parts, axis=1), rows)
    np.testing.assert_array_equal(micro_batches.join(micro_batches.split(rows[0], 3)), rows[0])
    assert micro_batches.join(parts[:, :0], axis=1).shape == (0, 6, 2)


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
