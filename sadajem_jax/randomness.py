"""Keys: every draw is a function of (seed, restarts, step, purpose, row), and of nothing else.

So a run resumed at step n does what an unbroken run does, and the rows of a batch may be computed
anywhere.
"""

from __future__ import annotations

import enum

import jax
import jax.numpy as jnp


class Purpose(enum.IntEnum):
    """What a key is for; the numbers are part of a run's identity and never change."""

    PARAMS = 0
    BUFFER_FILL = 1
    SLOTS = 2
    REINIT = 3
    FRESH = 4
    NOISE = 5
    AUGMENT = 6
    AUGMENT_PX = 7
    FURTHER = 8


def run_key(seed: int, restarts: int = 0) -> jax.Array:
    """The key of a run; after a divergence it goes on with the next `restarts`."""
    return jax.random.fold_in(jax.random.key(seed), restarts)


def step_key(key: jax.Array, step: jax.Array | int, purpose: Purpose) -> jax.Array:
    """The key of one purpose in one step."""
    return jax.random.fold_in(jax.random.fold_in(key, step), purpose)


def row_keys(key: jax.Array, num_rows: int) -> jax.Array:
    """[num_rows] keys, one a global row."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_rows))
