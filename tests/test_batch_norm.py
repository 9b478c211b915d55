"""Batch norm: what it computes, what a forward hands out, and how the statistics are folded."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import batch_norm, row_groups
from sadajem_jax.batch_norm import EPSILON, MOMENTS, BatchNorm
from sadajem_jax.wide_resnet import WideResNet

pytestmark = pytest.mark.usefixtures("compiled_in_haste")


def test_batch_norm_is_the_textbook_s() -> None:
    """Training: biased variance normalises, the unbiased is sown; evaluation: running ones."""
    x = np.random.default_rng(0).normal(3, 2, (4, 2, 3, 5)).astype(np.float32)
    layer = BatchNorm()
    params = {"scale": jnp.linspace(0.5, 2, 5), "bias": jnp.linspace(-1, 1, 5)}
    running = {"mean": jnp.linspace(0, 1, 5), "var": jnp.linspace(1, 3, 5)}
    variables = {"params": params, "batch_stats": running}
    scale, bias = np.asarray(params["scale"]), np.asarray(params["bias"])

    def normalised(mean: Any, var: Any) -> np.ndarray:
        return scale * (x - np.asarray(mean)) / np.sqrt(np.asarray(var) + EPSILON) + bias

    out, sown = layer.apply(variables, x, True, mutable=[MOMENTS])
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(out, normalised(mean, var), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sown[MOMENTS]["mean"][0], mean, rtol=1e-5)
    np.testing.assert_allclose(sown[MOMENTS]["var"][0], x.var((0, 1, 2), ddof=1), rtol=1e-5)
    out = layer.apply(variables, x, False)
    np.testing.assert_allclose(np.asarray(out), normalised(**running), rtol=1e-4, atol=1e-5)


def test_a_forward_hands_out_the_moments() -> None:
    """A training-mode forward gives the logits and the norms' moments in a row; without norms none.

    In the order of the running statistics' leaves.
    """
    x = jax.random.uniform(jax.random.key(1), (3, 8, 8, 1), minval=-1, maxval=1)
    for norm in ("batch", "none"):
        network = WideResNet(10, 1, 3, norm)
        variables = jax.jit(network.init)(jax.random.key(0), x)
        logits, moments = batch_norm.forward(network, variables, x)
        expected, sown = network.apply(variables, x, train=True, mutable=[MOMENTS])
        np.testing.assert_array_equal(logits, expected)
        stats = variables.get("batch_stats", {})
        assert moments.shape == (1, sum(leaf.size for leaf in jax.tree.leaves(stats)))
        if norm == "batch":
            assert dict(sown)[MOMENTS].keys() == stats.keys()
            np.testing.assert_array_equal(moments, batch_norm.in_a_row(dict(sown)[MOMENTS]))


def test_each_group_of_rows_is_normalised_by_itself() -> None:
    """Outputs, moments and gradients of three unequal groups are those of a forward for each."""
    layer, sizes = BatchNorm(), (2, 3, 3)
    groups = row_groups.layout(sizes, row_groups.Shares()).groups
    x = jax.random.normal(jax.random.key(1), (8, 4, 4, 5)) + jnp.arange(8.0)[:, None, None, None]
    params = {"scale": jnp.linspace(0.5, 2, 5), "bias": jnp.linspace(-1, 1, 5)}
    weights = jax.random.normal(jax.random.key(2), x.shape)

    def forward(params: Any, x: jax.Array, groups: Any = ()) -> tuple[jax.Array, jax.Array]:
        stats = {"mean": jnp.zeros(5), "var": jnp.ones(5)}
        variables = {"params": params, "batch_stats": stats}
        out, sown = layer.apply(variables, x, True, groups, mutable=[MOMENTS])
        return out, batch_norm.in_a_row(sown[MOMENTS])

    def grouped(params: Any, x: jax.Array) -> Any:
        out, moments = forward(params, x, groups)
        return jnp.sum(weights * out), (out, moments)

    def apart(params: Any, x: jax.Array) -> Any:
        each = [forward(params, part) for part in jnp.split(x, np.cumsum(sizes)[:-1])]
        out, moments = (jnp.concatenate(values) for values in zip(*each, strict=True))
        return jnp.sum(weights * out), (out, moments)

    found, expected = (
        jax.value_and_grad(f, (0, 1), has_aux=True)(params, x) for f in (grouped, apart)
    )
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, found, expected)


@pytest.mark.parametrize("num_forwards", [0, 1, 5])
def test_folding_is_the_sequential_recursion(num_forwards: int) -> None:
    """The statistics move by new = 0.1 old + 0.9 batch, forward after forward."""
    rng = np.random.default_rng(0)
    old = {"bn": {"mean": jnp.asarray(rng.normal(size=3), jnp.float32), "var": jnp.ones(3)}}
    moments = jnp.asarray(rng.normal(size=(num_forwards, 6)), jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        found = batch_norm.fold_statistics(old, moments)
    value = np.concatenate([np.float64(old["bn"]["mean"]), np.ones(3)])
    for batch in moments:
        value = 0.1 * value + 0.9 * np.float64(batch)
    np.testing.assert_allclose(batch_norm.in_a_row(found), value, rtol=1e-5)
    assert found["bn"]["mean"].dtype == jnp.float32
    assert batch_norm.fold_statistics({}, jnp.zeros((num_forwards, 0))) == {}


def test_a_forward_in_evaluation_mode_has_no_moments() -> None:
    """It normalises by what runs, and its moments have no row."""
    network = WideResNet(10, 1, 3)
    x = jax.random.uniform(jax.random.key(1), (2, 8, 8, 1))
    variables = jax.jit(network.init)(jax.random.key(0), x)
    logits, moments = batch_norm.frozen_forward(network, variables, x)
    np.testing.assert_array_equal(logits, network.apply(variables, x))
    assert moments.shape == (0, batch_norm.in_a_row(variables["batch_stats"]).size)
