"""Groups of rows in one batch: their means, and a value for each put onto its rows.

So three batches go through a network in one forward and are normalised apart. Written in sums over
which parts belong to which group: the gradient of a look-up by row would be a scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

Groups = tuple[int, ...]
"""The group of each of P equal parts of a batch, numbered from 0; none: all is one group."""


def of_sizes(sizes: Sequence[int]) -> Groups:
    """The groups of batches behind one another, in the largest equal parts that there are.

    Examples:
      >>> of_sizes([64, 64, 128])
      (0, 1, 2, 2)
    """
    part = math.gcd(*sizes)
    return tuple(group for group, size in enumerate(sizes) for _ in range(size // part))


def count(groups: Groups) -> int:
    """G, how many groups there are; 1 of a batch that is one group."""
    return max(groups, default=0) + 1


def rows(groups: Groups, batch_size: int) -> np.ndarray:
    """[G] rows of each group in a batch of so many."""
    shares = np.bincount(groups) if groups else np.ones(1, int)
    return shares * (batch_size // max(len(groups), 1))


def means(x: jax.Array, groups: Groups) -> jax.Array:
    """Means of [B, H, W, C] over rows and pixels: [G, C], or [C] of one group."""
    if count(groups) == 1:
        return jnp.mean(x, axis=(0, 1, 2))
    belongs = _membership(groups)
    of_parts = jnp.mean(x.reshape(len(groups), -1, x.shape[-1]), axis=1)
    shares = (belongs / belongs.sum(axis=0)).astype(of_parts.dtype)
    return jnp.sum(shares[:, :, None] * of_parts[:, None], axis=0)


def on_rows(value: jax.Array, groups: Groups, batch_size: int) -> jax.Array:
    """What each row's group has, [B, 1, 1, C] of [G, C]; [C] of one group as it is."""
    if value.ndim == 1:
        return value
    belongs = np.repeat(_membership(groups), batch_size // len(groups), axis=0)
    return jnp.sum(jnp.where(belongs[:, :, None], value, 0), axis=1)[:, None, None]


def _membership(groups: Groups) -> np.ndarray:
    """[P, G] bool."""
    return np.asarray(groups)[:, None] == np.arange(count(groups))
