"""A classifier whose chain is known in closed form, and a network that is small and smooth."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import sgld
from sadajem_jax.evaluation.robustness.purification.presets import PRESETS, Purification

FREE = sgld.Langevin(1.0, 0.0, np.inf, (-np.inf, np.inf))
"""A kernel without clips."""
SHAPE = (3, 3, 1)


class Quadratic(NamedTuple):
    """f(x) = log softmax(x w) - (x - c)' diag(rates) (x - c) / 2, so that LSE f(x) is the second.

    The chain then shrinks x - c by 1 - step size * rate a step, value by value, whatever the
    classes; and p(y | x) is that of x w alone.
    """

    w: np.ndarray
    c: np.ndarray
    rates: np.ndarray

    def variables(self) -> dict[str, np.ndarray]:
        """As `logits` takes them, float32."""
        return {name: value.astype(np.float32) for name, value in self._asdict().items()}

    def end(self, x: np.ndarray, num_steps: int, step_size: float = 1.0) -> np.ndarray:
        """Where a chain without noise ends: [N, H, W, channels] -> [N, D] float64."""
        flat = x.reshape(len(x), -1).astype(np.float64)
        return self.c + (1 - step_size * self.rates) ** num_steps * (flat - self.c)

    def loss_gradient(self, flat: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The loss's gradient, d -log p(y | x) / dx = w (p - onehot(y)): [N, D] float64."""
        z = flat @ self.w
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(p)), labels] -= 1
        return p @ self.w.T

    def predict(self, flat: np.ndarray) -> np.ndarray:
        """argmax_y p(y | x)."""
        return np.argmax(flat @ self.w, axis=1)


def logits(variables: dict[str, Any], x: Any) -> jax.Array:
    """f(x) of `Quadratic`, summed value by value, so that a row does not depend on the others."""
    flat = jnp.reshape(x, (len(x), -1))
    z = jnp.sum(flat[:, :, None] * variables["w"], axis=1)
    bowl = jnp.sum(variables["rates"] * jnp.square(flat - variables["c"]), axis=1) / 2
    return jax.nn.log_softmax(z) - bowl[:, None]


def quadratic(rates: Any = 0.3, classes: int = 3, seed: int = 0) -> Quadratic:
    """One of random classes, around black."""
    size = int(np.prod(SHAPE))
    w = np.random.default_rng(seed).normal(size=(size, classes))
    return Quadratic(w, np.zeros(size), np.broadcast_to(np.float64(rates), size).copy())


def images(number: int, seed: int = 1, within: float = 0.6) -> np.ndarray:
    """[N, *SHAPE] float32, away from the box's sides."""
    drawn = np.random.default_rng(seed).uniform(-within, within, (number, *SHAPE))
    return drawn.astype(np.float32)


def mlp(variables: dict[str, Any], x: Any) -> jax.Array:
    """A smooth network of any precision: logits [B, 3]."""
    flat = jnp.reshape(x, (len(x), -1))
    return jnp.tanh(flat @ variables["w1"] + variables["b1"]) @ variables["w2"]


def mlp_variables(dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Of `mlp`, for images of `SHAPE`."""
    rng = np.random.default_rng(3)
    shapes = {"w1": (int(np.prod(SHAPE)), 16), "b1": (16,), "w2": (16, 3)}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def conv(variables: dict[str, Any], x: Any) -> jax.Array:
    """Two convolutions with a LeakyReLU between and after, and a mean: logits [B, 3]."""
    for name in ("k1", "k2"):
        x = jax.lax.conv_general_dilated(
            x, variables[name], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.leaky_relu(x, 0.2)
    return jnp.mean(x, axis=(1, 2)) @ variables["head"]


def conv_variables() -> dict[str, np.ndarray]:
    """Of `conv`, for grey images."""
    rng = np.random.default_rng(3)
    shapes = {"k1": (3, 3, 1, 8), "k2": (3, 3, 8, 8), "head": (8, 3)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def settings(**fields: Any) -> Purification:
    """The short preset, but for some fields."""
    return PRESETS["short"]._replace(**fields)
