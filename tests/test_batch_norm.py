"""Batch norm: what it computes, what a forward hands out, and how the statistics are folded."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import batch_norm
from sadajem_jax.batch_norm import EPSILON, MOMENTS, BatchNorm
from sadajem_jax.wide_resnet import WideResNet


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
    np.testing.assert_allclose(sown[MOMENTS]["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(sown[MOMENTS]["var"], x.var((0, 1, 2), ddof=1), rtol=1e-5)
    out = layer.apply(variables, x, False)
    np.testing.assert_allclose(np.asarray(out), normalised(**running), rtol=1e-4, atol=1e-5)


def test_a_forward_hands_out_the_moments() -> None:
    """A training-mode forward gives the logits and each norm's moments; without norms none."""
    x = jax.random.uniform(jax.random.key(1), (3, 8, 8, 1), minval=-1, maxval=1)
    for norm in ("batch", "none"):
        network = WideResNet(10, 1, 3, norm)
        variables = jax.jit(network.init)(jax.random.key(0), x)
        logits, moments = batch_norm.forward(network, variables, x)
        expected, sown = network.apply(variables, x, train=True, mutable=[MOMENTS])
        np.testing.assert_array_equal(logits, expected)
        jax.tree.map(np.testing.assert_array_equal, moments, dict(sown).get(MOMENTS, {}))
        like = variables.get("batch_stats", {})
        assert jax.tree.map(jnp.shape, moments) == jax.tree.map(jnp.shape, like)


@pytest.mark.parametrize("num_steps", [0, 1, 3])
def test_folding_is_the_sequential_recursion(num_steps: int) -> None:
    """The statistics move by new = 0.1 old + 0.9 batch: data, chain 1..K, negatives, labelled."""
    rng = np.random.default_rng(0)

    def draw(*lead: int) -> Any:
        return {"bn": {"mean": jnp.asarray(rng.normal(size=(*lead, 3)), jnp.float32)}}

    old, data, chain, negatives, label = draw(), draw(), draw(num_steps), draw(), draw()
    with jax.numpy_dtype_promotion("strict"):
        found = batch_norm.fold_statistics(old, data, chain, negatives, label)
    value = np.float64(old["bn"]["mean"])
    steps = list(chain["bn"]["mean"])
    for batch in [data["bn"]["mean"], *steps, negatives["bn"]["mean"], label["bn"]["mean"]]:
        value = 0.1 * value + 0.9 * np.float64(batch)
    np.testing.assert_allclose(found["bn"]["mean"], value, rtol=1e-5)
    assert found["bn"]["mean"].dtype == jnp.float32


def test_forwards_that_were_not_made_move_nothing() -> None:
    """A classifier's statistics are 0.1 old + 0.9 labelled; further ones come before the labelled.

    A forward in evaluation mode has no moments, and normalises by what runs.
    """
    old, label, more = ({"mean": jnp.full(3, value)} for value in (1.0, 2.0, 5.0))
    found = batch_norm.fold_statistics(old, None, {}, None, label)
    np.testing.assert_allclose(found["mean"], 0.1 * 1 + 0.9 * 2, rtol=1e-6)
    found = batch_norm.fold_statistics(old, None, {}, None, label, (more,))
    np.testing.assert_allclose(found["mean"], 0.1 * (0.1 * 1 + 0.9 * 5) + 0.9 * 2, rtol=1e-6)
    assert batch_norm.fold_statistics({}, {}, {}, {}, {}) == {}
    network = WideResNet(10, 1, 3)
    x = jax.random.uniform(jax.random.key(1), (2, 8, 8, 1))
    variables = jax.jit(network.init)(jax.random.key(0), x)
    logits, moments = batch_norm.frozen_forward(network, variables, x)
    np.testing.assert_array_equal(logits, network.apply(variables, x))
    assert moments == {}
