"""The energies that a classifier's logits define."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import energy


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """No silent change of dtype in this file."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def logits() -> jax.Array:
    """Logits of 5 x 3 images and 7 classes."""
    return 4 * jax.random.normal(jax.random.key(0), (5, 3, 7))


@pytest.fixture
def labels() -> jax.Array:
    """A label for each of the images."""
    return jax.random.randint(jax.random.key(1), (5, 3), 0, 7)


def test_the_energy_is_minus_the_log_of_the_summed_exponentials(logits: jax.Array) -> None:
    """E(x) = -log sum_y exp f(x)[y], and log p(x) is its negative."""
    expected = np.log(np.exp(np.float64(logits)).sum(-1))
    np.testing.assert_allclose(energy.log_density(logits), expected, rtol=1e-6)
    np.testing.assert_allclose(energy.energy(logits), -expected, rtol=1e-6)


def test_the_joint_energy_is_minus_the_label_s_logit(logits: jax.Array, labels: jax.Array) -> None:
    """E(x, y) = -f(x)[y], and log p(x, y) is its negative."""
    expected = np.zeros(labels.shape, np.float32)
    for place in np.ndindex(*labels.shape):
        expected[place] = logits[place][int(labels[place])]
    np.testing.assert_array_equal(energy.joint_log_density(logits, labels), expected)
    np.testing.assert_array_equal(energy.joint_energy(logits, labels), -expected)


def test_the_joint_density_sums_to_the_marginal(logits: jax.Array) -> None:
    """sum_y p(x, y) = p(x)."""
    of_class = [energy.joint_log_density(logits, jnp.full((5, 3), y)) for y in range(7)]
    total = np.log(np.exp(np.asarray(of_class, np.float64)).sum(0))
    np.testing.assert_allclose(total, energy.log_density(logits), rtol=1e-6)


def test_cross_entropy_is_the_difference_of_the_energies(
    logits: jax.Array, labels: jax.Array
) -> None:
    """-log p(y | x) = E(x, y) - E(x) = -log softmax(f(x))[y]."""
    found = energy.cross_entropy(logits, labels)
    difference = energy.joint_energy(logits, labels) - energy.energy(logits)
    softmax = np.exp(np.float64(logits)) / np.exp(np.float64(logits)).sum(-1, keepdims=True)
    chosen = np.take_along_axis(softmax, np.asarray(labels)[..., None], -1)[..., 0]
    np.testing.assert_allclose(found, difference, rtol=1e-6)
    np.testing.assert_allclose(found, -np.log(chosen), rtol=1e-5, atol=2e-6)


def test_a_shift_of_the_logits_moves_the_density_and_not_the_classes(
    logits: jax.Array, labels: jax.Array
) -> None:
    """Adding c to all logits adds c to log p(x) and leaves p(y | x)."""
    there = energy.log_density(logits + 3.0)
    np.testing.assert_allclose(there, energy.log_density(logits) + 3.0, rtol=1e-6)
    shifted, here = (energy.cross_entropy(f, labels) for f in (logits + 3.0, logits))
    np.testing.assert_allclose(shifted, here, atol=4e-6)


def test_the_gradient_of_the_log_density_is_the_softmax(logits: jax.Array) -> None:
    """The slope of log p(x) in the logit of y is p(y | x)."""
    found = jax.grad(lambda f: jnp.sum(energy.log_density(f)))(logits)
    np.testing.assert_allclose(found, jax.nn.softmax(logits), rtol=1e-5)


def test_large_logits_stay_finite() -> None:
    """Logits of 1e4 overflow no exponential."""
    logits = jnp.array([[1e4, 0.0], [-1e4, -1e4]])
    expected = [1e4, -1e4 + np.log(2)]
    np.testing.assert_allclose(energy.log_density(logits), expected, rtol=1e-6)
    np.testing.assert_array_equal(energy.cross_entropy(logits[:1], jnp.array([0])), [0.0])
