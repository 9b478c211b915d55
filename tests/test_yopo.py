"""JEM++'s proximal YOPO-SGLD is plain SGLD, the first layer being linear (docs/systems.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import sgld

OUTER, INNER, SIZE = 2, 5, 0.2
Layer = Callable[[jax.Array], jax.Array]


@pytest.fixture(autouse=True)
def double(x64: None) -> Iterator[None]:
    """All of this file in double precision."""
    yield


def weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a convolution with its bias, and of what follows; scores so large that all clips act."""
    rng = np.random.default_rng(0)
    shapes = (3, 3, 1, 4), (4,), (4, 3)
    kernel, bias, head = (rng.standard_normal(shape) for shape in shapes)
    return kernel, bias, 20 * head


def convolution(x: jax.Array) -> jax.Array:
    """The first layer, linear but for its bias."""
    weight, bias, _ = weights()
    layout = ("NHWC", "HWIO", "NHWC")
    kernel, strides = jnp.asarray(weight), (1, 1)
    return jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=layout) + bias


def rectified(x: jax.Array) -> jax.Array:
    """A first layer that is not linear."""
    return jnp.maximum(convolution(x), 0)


def log_density(h: jax.Array) -> jax.Array:
    """What follows the first layer: rows coupled as by batch norm, then logits and their sum."""
    h = (h - h.mean(axis=(0, 1, 2))) / h.std(axis=(0, 1, 2))
    logits = jnp.tanh(h).mean(axis=(1, 2)) @ weights()[2]
    return jax.nn.logsumexp(logits, axis=-1)


def yopo(x: jax.Array, first: Layer) -> jax.Array:
    """M outer steps, each with N inner ones along d <first(x), p> / dx, p held; as in JEM++."""
    for _ in range(OUTER):
        p = jax.grad(lambda h: log_density(h).sum())(first(x))
        for _ in range(INNER):
            gradient = jax.grad(lambda x, p=p: jnp.sum(first(x) * p))(x)
            x = jnp.clip(x + SIZE * jnp.clip(gradient, -1, 1), -1, 1)
    return x


def plain(x: jax.Array, first: Layer) -> jax.Array:
    """M steps of N times the size."""

    def density(x: jax.Array) -> tuple[jax.Array, Any]:
        return log_density(first(x)), None

    kernel = sgld.Langevin(step_size=INNER * SIZE, grad_clip=1.0)
    keys = jax.random.split(jax.random.key(2), len(x))
    return sgld.sample(keys, x, density, kernel, num_steps=OUTER)[0]


def starts() -> jax.Array:
    """Images within the range, some of their values at its ends."""
    return jnp.asarray(np.random.default_rng(1).standard_normal((6, 5, 5, 1)).clip(-1, 1))


def test_outer_times_inner_steps_are_outer_steps_of_inner_times_the_size() -> None:
    """With a linear first layer 2 x 5 steps of 0.2 end where 2 SGLD steps of 1 do, to rounding.

    Both clips are in force: of the score, and of the images after each step, inner ones too.
    """
    x = starts()
    found, expected = (jax.jit(lambda x, f=f: f(x, convolution))(x) for f in (yopo, plain))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert 0.05 < np.mean(np.abs(expected) == 1) < 0.95
    assert np.abs(expected - x).max() > 1  # beyond one step's length: they did go somewhere


def test_with_another_first_layer_they_are_not() -> None:
    """With a rectified first layer the inner gradients change on the way: the ends differ."""
    found, expected = (jax.jit(lambda x, f=f: f(x, rectified))(starts()) for f in (yopo, plain))
    assert np.abs(found - expected).max() > 1e-3
