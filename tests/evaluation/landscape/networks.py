"""Functions of parameters whose curvature is known, and a network small enough for all of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sadajem_jax.batch_norm import BatchNorm
from sadajem_jax.evaluation.landscape.surface import Logits, Surface

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 1), np.uint8)
FLOATS = (IMAGES.astype(np.float64) - 127.5) / 127.5
LABELS = np.arange(12, dtype=np.int32) % 3


class Tiny(nn.Module):
    """A convolution, batch norm, a smooth activation and a head: 55 parameters, 3 classes."""

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """[B, H, W, channels] -> [B, 3]."""
        kinds = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        x = nn.Conv(4, (3, 3), (2, 2), name="conv", **kinds)(x.astype(self.dtype))
        x = nn.silu(BatchNorm(name="norm", **kinds)(x, train))
        return nn.Dense(3, name="head", **kinds)(jnp.mean(x, axis=(1, 2)))


def tiny_variables(dtype: Any = np.float64) -> dict[str, Any]:
    """Parameters and running statistics, none of them a default."""
    found = Tiny().init(jax.random.key(0), jnp.zeros((1, 6, 6, 1)))
    rng = np.random.default_rng(1)

    def drawn(leaf: Any) -> np.ndarray:
        return rng.uniform(0.3, 1.3, leaf.shape).astype(dtype)

    signs = jax.tree.map(lambda w: np.where(np.asarray(w) < 0, -1, 1), found["params"])
    params = jax.tree.map(lambda w, s: drawn(w) * s, found["params"], signs)
    return {"params": params, "batch_stats": jax.tree.map(drawn, found["batch_stats"])}


def tiny(train: bool = False) -> Logits:
    """Tiny in float64, with running or with the batch's statistics."""
    made = Tiny(jnp.float64, jnp.float64)

    def logits(variables: Any, x: jax.Array) -> jax.Array:
        return made.apply(variables, x, train=train, mutable=["moments"])[0]

    return logits


def mean_of(quantity: str, logits_fn: Logits, batch_size: int = 12) -> Any:
    """The mean over FLOATS in batches, written straight down: variables -> scalar."""

    def mean(variables: Any) -> jax.Array:
        total = jnp.zeros(())
        for start in range(0, len(FLOATS), batch_size):
            rows = slice(start, start + batch_size)
            logits = logits_fn(variables, jnp.asarray(FLOATS[rows]))
            if quantity == "energy":
                total -= jax.nn.logsumexp(logits, axis=-1).sum()
            else:
                here = jnp.arange(len(logits)), LABELS[rows]
                total -= jax.nn.log_softmax(logits)[here].sum()
        return total / len(FLOATS)

    return mean


class Whole(NamedTuple):
    """A function of all parameters as a vector, with its gradient and Hessian at theta."""

    at: Callable[[Any], Any]
    theta: np.ndarray
    gradient: np.ndarray
    hessian: np.ndarray


@functools.cache
def whole(quantity: str, train: bool, batch_size: int) -> Whole:
    """Of Tiny's mean energy or loss; in float64."""
    variables = tiny_variables()
    theta, unravel = ravel_pytree(variables["params"])
    mean = mean_of(quantity, tiny(train), batch_size)
    at = jax.jit(lambda vector: mean({**variables, "params": unravel(vector)}))
    gradient, hessian = jax.jit(lambda v: (jax.grad(at)(v), jax.hessian(at)(v)))(theta)
    return Whole(at, np.asarray(theta), np.asarray(gradient), np.asarray(hessian))


def quadratic(matrix: np.ndarray, params: Any) -> Surface:
    """The surface whose energy is theta' matrix theta / 2, whatever the image."""

    def logits(variables: Any, x: jax.Array) -> jax.Array:
        leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(variables["params"])]
        theta = jnp.concatenate(leaves)
        # With one class log p(x) is the logit itself.
        return jnp.broadcast_to(-theta @ matrix @ theta / 2, (len(x), 1))

    labels = np.zeros(5, np.int32)
    return Surface(logits, {"params": params}, FLOATS[:5], labels, batch_size=2)


def symmetric(size: int, seed: int = 0) -> np.ndarray:
    """A dense symmetric matrix, indefinite."""
    drawn = np.random.default_rng(seed).normal(size=(size, size))
    return (drawn + drawn.T) / 2
