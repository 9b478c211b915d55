"""Small classifiers of images in [0, 1], and what runs one attack on them."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sadajem_jax.data import digits
from sadajem_jax.evaluation.autoattack.attack import Attack, Rows
from sadajem_jax.evaluation.autoattack.batches import Placement, Runner


def linear(variables: dict[str, Any], images: Any) -> jax.Array:
    """Logits W' x + b; summed value by value, so that a row does not depend on its neighbours."""
    products = jnp.reshape(images, (len(images), -1, 1)) * variables["w"]
    return products.sum(axis=1) + variables["b"]


def random_linear(shape: tuple[int, ...], classes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Variables of `linear` without a bias."""
    w = np.random.default_rng(seed).normal(size=(int(np.prod(shape)), classes))
    return {"w": w.astype(np.float32), "b": np.zeros(classes, np.float32)}


def mlp(variables: dict[str, Any], images: Any) -> jax.Array:
    """Two layers with a ReLU between them."""
    flat = jnp.reshape(images, (len(images), -1))
    hidden = jax.nn.relu(flat @ variables["w1"] + variables["b1"])
    return hidden @ variables["w2"] + variables["b2"]


@functools.cache
def trained_mlp() -> dict[str, np.ndarray]:
    """An `mlp` that classifies scikit-learn's digits: the same one, whatever test asks first."""
    with jax.enable_x64(False):
        return _trained_mlp()


def _trained_mlp() -> dict[str, np.ndarray]:
    images, labels = digits.read("train")
    images = images.astype(np.float32) / 255
    keys = jax.random.split(jax.random.key(0))
    params = {
        "w1": jax.random.normal(keys[0], (64, 32)) / 8,
        "b1": jnp.zeros(32),
        "w2": jax.random.normal(keys[1], (32, 10)) / 6,
        "b2": jnp.zeros(10),
    }
    tx = optax.adam(0.01)

    def loss(params: Any) -> jax.Array:
        per_image = optax.softmax_cross_entropy_with_integer_labels(mlp(params, images), labels)
        return per_image.mean()

    @jax.jit
    def step(params: Any, state: Any) -> tuple[Any, Any]:
        updates, state = tx.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(150):
        params, state = step(params, state)
    return jax.tree.map(np.asarray, params)


def some_digits(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Held-out digits in [0, 1] and their labels, every class among them."""
    images, labels = digits.read("test")
    chosen = np.linspace(0, len(images) - 1, number).astype(int)
    return images[chosen].astype(np.float32) / 255, labels[chosen]


def rows(images: Any, labels: Any, targets: Any = None, *, eps: float = 0.1) -> Rows:
    """A batch of everything; its keys are always the same."""
    keys = jax.random.split(jax.random.key(0), len(images))
    targets = labels if targets is None else targets
    images = jnp.asarray(images)
    radii = jnp.full(len(images), eps, images.dtype)
    return Rows(images, jnp.asarray(labels), jnp.asarray(targets), keys, radii)


def attacked(attack: Attack, variables: Any, batch: Any) -> tuple[np.ndarray, Any]:
    """(candidates, the last state) of one attack on one batch."""
    placement = Placement(variables, len(batch.images), devices=jax.local_devices()[:1])
    return Runner(attack, placement)(batch)


def sizes(delta: np.ndarray, norm: str) -> np.ndarray:
    """The norm of each image, by NumPy."""
    order = {"l_inf": np.inf, "l_2": 2}[norm]
    return np.linalg.norm(delta.reshape(len(delta), -1), ord=order, axis=1)
