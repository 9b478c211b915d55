"""Groups of consecutive rows in one batch: their means, and a value for each put onto its rows.

So three batches go through a network in one forward and are normalised apart. Written in sums over
which parts belong to which group: the gradient of a look-up by row would be a scatter.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

Groups = tuple[int, ...]
"""G sizes that add up to the batch's B; none or one: the whole batch is one group."""


def membership(groups: Groups, size: int) -> np.ndarray:
    """[B / size, G] bool: to which group each part of so many rows belongs.

    Examples:
      >>> membership((4, 4, 8), 4).astype(int).tolist()
      [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]
    """
    which = np.arange(len(groups))
    return np.repeat(which, np.asarray(groups) // size)[:, None] == which


def means(x: jax.Array, groups: Groups) -> jax.Array:
    """Means of [B, H, W, C] over rows and pixels: [G, C], or [C] of one group."""
    if len(groups) < 2:
        return jnp.mean(x, axis=(0, 1, 2))
    belongs = membership(groups, math.gcd(*groups))
    of_parts = jnp.mean(x.reshape(len(belongs), -1, x.shape[-1]), axis=1)
    shares = (belongs / belongs.sum(axis=0)).astype(of_parts.dtype)
    return jnp.sum(shares[:, :, None] * of_parts[:, None], axis=0)


def on_rows(value: jax.Array, groups: Groups) -> jax.Array:
    """What each row's group has, [B, 1, 1, C] of [G, C]; [C] of one group as it is."""
    if value.ndim == 1:
        return value
    belongs = membership(groups, 1)[:, :, None]
    return jnp.sum(jnp.where(belongs, value, 0), axis=1)[:, None, None]
