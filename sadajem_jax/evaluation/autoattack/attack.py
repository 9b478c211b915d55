"""What every attack is made of: a start, a step repeated a fixed number of times, and a result.

An attack is a pure function of each row by itself: no row knows of its neighbours, so that a result
depends neither on the batch nor on the device that it was computed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Logits = Callable[[Any, jax.Array], jax.Array]
"""(variables, images [B, H, W, channels] in [0, 1]) -> logits [B, C]; pure."""


class Rows(NamedTuple):
    """The images of a batch and what is asked of each.

    Attributes:
      images: [B, H, W, channels] clean, float32 in [0, 1].
      labels: [B] int, right for every row that is attacked.
      targets: [B] int, the class to be reached, where an attack has one.
      keys: [B] one key a row.
      eps: [B] radius of each image's ball, on the scale of [0, 1]: data and no constant, so that
        all sizes share a program.
    """

    images: jax.Array
    labels: jax.Array
    targets: jax.Array
    keys: jax.Array
    eps: jax.Array


class Attack(NamedTuple):
    """An attack as functions of (variables, rows); every array of a state has the leading B.

    Rows are `Rows`, or another named tuple with the same `images`.

    Attributes:
      num_steps: how many steps it takes.
      start: rows -> state; evaluates no network.
      step: (variables, rows, state, number of the step from 0) -> state.
      result: (rows, state) -> candidates [B, H, W, channels], the clean image where none was found.
      gradients: whether a step takes any, see `backend.unrolls`.
      done: state -> [B] bool, where further steps change nothing.
      every: steps after which rows that are done leave, and the others move up; 0: never.
      suspects: state -> [B] bool, where the gradient was zero at the start.
    """

    num_steps: int
    start: Callable[[Any], Any]
    step: Callable[[Any, Any, Any, jax.Array], Any]
    result: Callable[[Any, Any], jax.Array]
    gradients: bool
    done: Callable[[Any], jax.Array] | None = None
    every: int = 0
    suspects: Callable[[Any], jax.Array] | None = None


def choose(where: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Rows of `new` where [B] `where` holds, of `old` elsewhere."""
    return jnp.where(where.reshape(-1, *(1,) * (new.ndim - 1)), new, old)


def fooled(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Where argmax is another class: [B, C], [B] -> [B] bool."""
    return jnp.argmax(logits, axis=-1) != labels
