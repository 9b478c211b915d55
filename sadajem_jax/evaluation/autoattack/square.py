"""Square Attack: random search with shrinking windows; it takes no gradient and trusts none.

Source: Andriushchenko et al. 2020 (arXiv 1912.00049), algorithms 1 to 3. In the released code the
images of a batch share the window (and, in l_inf, its signs); here each image draws its own, of
the same law, so that no image's result depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.evaluation.autoattack import windows
from sadajem_jax.evaluation.autoattack.attack import Attack, Logits, Rows, choose
from sadajem_jax.evaluation.autoattack.losses import TINY, margin
from sadajem_jax.evaluation.autoattack.projections import in_box

QUERIES = 5000
SHARE = 0.8  # p: of the image's area, in the first window
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # p, never rescaled

EVERY = 100  # queries after which broken images leave the batches

Start = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(key, clean image [H, W, channels], eps) -> x, in ball and box."""
Propose = Callable[[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""(key, x, clean image, eps, level of the schedule) -> another x, in ball and box."""


class State(NamedTuple):
    """The best images so far, and their margins [B]."""

    x: jax.Array
    margin: jax.Array


def square(logits_fn: Logits, shape: tuple[int, ...], *, norm: str) -> Attack:
    """Square Attack as a repeated step.

    Args:
      logits_fn: of the network that is searched.
      shape: (H, W, channels) of an image.
      norm: "l_inf" or "l_2", of the ball of `rows.eps`.

    Returns:
      An attack of 5,001 steps: step 0 looks at the start, the others are queries.
    """
    start_one, propose = (_l_inf if norm == "l_inf" else _l_2)(shape)

    def start(rows: Rows) -> State:
        keys = jax.vmap(jax.random.fold_in, (0, None))(rows.keys, 0)
        x = jax.vmap(start_one)(keys, rows.images, rows.eps)
        return State(x, jnp.full(len(x), jnp.inf, x.dtype))

    def step(variables: Any, rows: Rows, state: State, number: jax.Array) -> State:
        keys = jax.vmap(jax.random.fold_in, (0, None))(rows.keys, number)
        level = jnp.sum(number - 1 > jnp.array(HALVED_AFTER))
        tried = jax.vmap(propose, (0, 0, 0, 0, None))(keys, state.x, rows.images, rows.eps, level)
        x = jnp.where(number == 0, state.x, tried)
        value = margin(logits_fn(variables, x), rows.labels)
        take = (state.margin > 0) & (value < state.margin)  # once misclassified it is left alone
        return State(choose(take, x, state.x), jnp.where(take, value, state.margin))

    return Attack(
        num_steps=1 + QUERIES,
        start=start,
        step=step,
        result=lambda rows, state: state.x,
        gradients=False,
        done=lambda state: state.margin <= 0,
        every=EVERY,
    )


def _l_inf(shape: tuple[int, ...]) -> tuple[Start, Propose]:
    """Starts from vertical stripes; then +-2 eps in a window, projected (algorithm 2)."""
    height, width, channels = shape
    sides = jnp.array([windows.side(share, height, width) for share in _shares()])

    def start(key: jax.Array, clean: jax.Array, eps: jax.Array) -> jax.Array:
        return in_box(clean + eps * jax.random.rademacher(key, (1, width, channels), clean.dtype))

    def propose(
        key: jax.Array, x: jax.Array, clean: jax.Array, eps: jax.Array, level: jax.Array
    ) -> jax.Array:
        place, signs = jax.random.split(key)
        row, column = windows.corner(place, height, width, sides[level])
        window = windows.mask(row, column, sides[level], height, width)
        change = 2 * eps * jax.random.rademacher(signs, (1, 1, channels), x.dtype)
        moved = x + jnp.where(window, change, 0)
        return in_box(clean + jnp.clip(moved - clean, -eps, eps))

    return start, propose


def _l_2(shape: tuple[int, ...]) -> tuple[Start, Propose]:
    """Starts from tiles; then moves the budget of one window into another (algorithm 3)."""
    height, width, channels = shape
    odd = [windows.odd_side(share, height, width) for share in _shares()]
    sides, bumps = jnp.array(odd), jnp.asarray(windows.bumps(odd, max(height, width)))

    def start(key: jax.Array, clean: jax.Array, eps: jax.Array) -> jax.Array:
        delta = windows.tiles(key, shape)
        return in_box(clean + eps * delta / (_norm(delta) + TINY))

    def propose(
        key: jax.Array, x: jax.Array, clean: jax.Array, eps: jax.Array, level: jax.Array
    ) -> jax.Array:
        here, there, coin, signs = jax.random.split(key, 4)
        row, column = windows.corner(here, height, width, sides[level])
        other = windows.corner(there, height, width, sides[level])
        first = windows.mask(row, column, sides[level], height, width)
        second = windows.mask(*other, sides[level], height, width)
        bump = windows.placed(bumps[level], row, column, coin, height, width)
        bump = bump * jax.random.rademacher(signs, (1, 1, channels), x.dtype)
        delta = _moved_budget(x - clean, first, second, bump, eps)
        return in_box(clean + eps * delta / (_norm(delta) + TINY))

    return start, propose


def _moved_budget(
    delta: jax.Array, first: jax.Array, second: jax.Array, bump: jax.Array, eps: jax.Array
) -> jax.Array:
    """Delta with the second window emptied and the first refilled with what is then free.

    Args:
      delta: [H, W, channels].
      first: [H, W, 1] bool, the window that gains.
      second: [H, W, 1] bool, the window that loses.
      bump: [H, W, channels], the new pattern, 0 outside the first window.
      eps: the budget; what the whole of delta leaves of it is shared by the channels.

    Returns:
      The changed delta; its norm is about eps (the windows may overlap).
    """
    old = jnp.where(first, delta, 0)
    pattern = bump + old / (TINY + _norm(old, (0, 1)))
    left = jnp.maximum(eps**2 - jnp.square(_norm(delta)), 0) / delta.shape[-1]
    freed = jnp.square(_norm(jnp.where(first | second, delta, 0), (0, 1)))
    filled = pattern / (TINY + _norm(pattern, (0, 1))) * jnp.sqrt(left + freed)
    return jnp.where(first, filled, jnp.where(second, 0, delta))


def _norm(delta: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(delta), axis=axes, keepdims=axes is not None))


def _shares() -> list[float]:
    """The share p on each level of the schedule."""
    return list(SHARE / 2.0 ** np.arange(len(HALVED_AFTER) + 1))
