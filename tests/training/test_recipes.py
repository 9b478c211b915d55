"""The optimizers that a config names: their updates by hand."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from sadajem_jax import objective
from sadajem_jax.cli import config as config_files
from sadajem_jax.training import recipes

PARAMS = np.array([1.0, -2.0, 3.0])
GRADS = [np.array([0.5, -1.0, 2.0]), np.array([-0.25, 3.0, 1.0])]


def made(**overrides: Any) -> ml_collections.ConfigDict:
    """The digits' config; overrides by field, a double underscore for the dot."""
    config = config_files.load("configs/digits.py")
    fields = {name.replace("__", "."): str(value) for name, value in overrides.items()}
    config_files.override(config, fields)
    return config


def trained(config: ml_collections.ConfigDict, rate: float) -> np.ndarray:
    """Parameters after two steps at a constant rate; the second pass sees the first's gradient."""
    tx = recipes.of(config).optimizer(optax.constant_schedule(rate))
    params = jnp.asarray(PARAMS, jnp.float32)
    state = tx.init(params)
    for grads in GRADS:
        g = jnp.asarray(grads, jnp.float32)
        updates, state = tx.update(g, state, params, grad_fn=lambda _, g=g: g)
        params = optax.apply_updates(params, updates)
    return np.asarray(params, np.float64)


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.999), (0.0, 0.999), (0.5, 0.9)])
def test_adam_is_kingma_and_ba_s(beta1: float, beta2: float) -> None:
    """Two steps of Adam, the decay in the gradient, are its Algorithm 1 by hand, at any betas."""
    rate, decay = 0.1, 0.01
    betas = {"train__beta1": beta1, "train__beta2": beta2}
    config = made(train__optimizer="adam", train__weight_decay=decay, sam__rho=0.0, **betas)
    w, m, v = PARAMS.copy(), np.zeros(3), np.zeros(3)
    for t, grads in enumerate(GRADS, start=1):
        g = grads + decay * w
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        w = w - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + 1e-8)
    np.testing.assert_allclose(trained(config, rate), w, rtol=1e-5)


def test_sgd_is_pytorch_s() -> None:
    """SGD's buffer is momentum times itself plus the decayed gradient, without dampening."""
    config = made(train__weight_decay=0.01, sam__rho=0.0)
    w, buffer = PARAMS.copy(), np.zeros(3)
    for grads in GRADS:
        buffer = 0.9 * buffer + grads + 0.01 * w
        w = w - 0.1 * buffer
    np.testing.assert_allclose(trained(config, 0.1), w, rtol=1e-5)


def test_adam_takes_the_gradient_that_sam_gives() -> None:
    """With SAM the first step of Adam goes against the sign of the *second* pass's gradient."""
    tx = recipes.of(made(train__optimizer="adam", train__weight_decay=0.0)).optimizer(
        optax.constant_schedule(0.1)
    )
    params = jnp.asarray(PARAMS, jnp.float32)
    second = jnp.array([-1.0, 1.0, -1.0])
    first = jnp.asarray(GRADS[0], jnp.float32)
    updates, _ = tx.update(first, tx.init(params), params, grad_fn=lambda _: second)
    np.testing.assert_allclose(updates, -0.1 * second, rtol=1e-4)


def test_epochs_are_of_the_stream_that_is_named() -> None:
    """200 epochs of 1,500 images are 200 x 23 batches of 64 labelled ones, or 200 x 46 of 32."""
    for stream, per_epoch in (("label", 23), ("px", 46)):
        recipe = recipes.of(made(train__epoch_of=stream, train__num_steps=0))
        assert recipe.total_steps(1500) == 200 * per_epoch


def test_without_weight_of_p_of_x_no_row_starts_anew() -> None:
    """Where no chain is run the feeder prepares no fresh starts."""
    assert recipes.of(made()).reinit_prob == 0.05
    assert recipes.of(made(objective__px_weight=0.0)).reinit_prob == 0.0


def test_no_constant_of_the_default_is_another_system_s() -> None:
    """SADA-JEM's step has no augmentation of p(x), no noise, no class and no further term."""
    constants = recipes.of(made()).constants
    assert not constants.augment_px.is_random and constants.noise_std == 0
    assert constants.chain_classes == 0 and constants.further == ()
    assert constants.kernel.bounds == (-1, 1) and not constants.kernel.noise_first
    assert constants.weights == objective.Weights()
