"""Norms, balls, the box of images, and the nearest point of a hyperplane inside that box.

A norm is "l_inf" or "l_2", of each image by itself; the box is [0, 1] for every value.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

NORMS = ("l_inf", "l_2")
TINY = 1e-12
FLATTEST = 1e-20
MOST_STEPS = 100  # of the search below, which ends after a few; only rounding could spin it

Climb = tuple[jax.Array, jax.Array, jax.Array]
"""(lambda [B], whether it still rises [B], steps taken)."""


def size(delta: jax.Array, norm: str) -> jax.Array:
    """The norm of each image: [B, ...] -> [B]."""
    flat = delta.reshape(len(delta), -1)
    if norm == "l_inf":
        return jnp.max(jnp.abs(flat), axis=-1)
    return jnp.sqrt(jnp.sum(jnp.square(flat), axis=-1))


def direction(delta: jax.Array, norm: str) -> jax.Array:
    """Each image divided by its norm; zero stays zero."""
    return delta / (per_image(size(delta, norm), delta) + TINY)


def onto_ball(x: jax.Array, centre: jax.Array, norm: str, eps: jax.Array | float) -> jax.Array:
    """The nearest images within eps of `centre`, then clipped to the box.

    For l_2 the two in this order are no projection onto both, but stay within both, since the
    centre lies in the box (the original has the same order).

    Args:
      x: [B, H, W, channels].
      centre: same shape, in [0, 1].
      norm: one of `NORMS`.
      eps: radius on the scale of [0, 1], of all images or [B] of each.

    Returns:
      Images of the same shape.

    Examples:
      >>> onto_ball(jnp.array([[0.9]]), jnp.array([[0.5]]), "l_inf", 0.125).tolist()
      [[0.625]]
    """
    delta = x - centre
    if norm == "l_inf":
        reach = per_image(jnp.asarray(eps), x)
        return in_box(centre + jnp.clip(delta, -reach, reach))
    radius = jnp.minimum(size(delta, norm), eps)
    return in_box(centre + per_image(radius, x) * direction(delta, norm))


def in_box(x: jax.Array) -> jax.Array:
    """Images clipped to [0, 1]."""
    return jnp.clip(x, 0.0, 1.0)


def to_hyperplane(x: jax.Array, normal: jax.Array, excess: jax.Array, norm: str) -> jax.Array:
    """The smallest step from x to the hyperplane <normal, .> = b that stays in the box.

    Where no point of the box lies on the hyperplane, the step goes as near to it as the box lets.

    With signs taken out, every value moves by min(lambda r, room), r = 1 for l_inf and |normal|
    for l_2, room being its distance to the side of the box it moves to. What that gains,
    g(lambda) = sum |normal| min(lambda r, room), is concave and piecewise linear, so that Newton's
    method from lambda = 0 climbs to g = |excess| without overshooting and, passing a corner of g
    at least with each step, ends exactly. (The original sorts the corners and halves intervals.)

    Args:
      x: [B, ...] in [0, 1].
      normal: [B, ...] of the hyperplane.
      excess: [B] <normal, x> - b, of any sign.
      norm: one of `NORMS`; the step is the smallest in it.

    Returns:
      The step [B, ...]: x + step is in the box. A value with normal 0 stays.

    Source: Croce and Hein 2020 (FAB, arXiv 1907.02044), Eq. 5 and appendix A.

    Examples:
      >>> x, normal = jnp.array([[0.5, 0.125]]), jnp.array([[1.0, 1.0]])
      >>> to_hyperplane(x, normal, jnp.array([0.5]), "l_2").tolist()  # the second can give 0.125
      [[-0.375, -0.125]]
    """
    signed = -normal * per_image(jnp.where(excess >= 0, 1.0, -1.0), normal)  # where to move
    room = jnp.where(signed > 0, 1 - x, x).reshape(len(x), -1)
    scale = 1 / (size(normal, "l_inf") + TINY)  # of gradients, which may be tiny: no overflow below
    weight = jnp.abs(normal).reshape(len(x), -1) * scale[:, None]
    rate = jnp.ones_like(weight) if norm == "l_inf" else weight
    length = _reach(weight, rate, room, jnp.abs(excess) * scale)
    return jnp.sign(signed) * jnp.minimum(length[:, None] * rate, room).reshape(x.shape)


def _reach(weight: jax.Array, rate: jax.Array, room: jax.Array, goal: jax.Array) -> jax.Array:
    """The lambda [B] at which g(lambda) = goal, or where g ends if it never gets there."""

    def climb(carry: Climb) -> Climb:
        length, _, count = carry
        moved = length[:, None] * rate
        gain = jnp.sum(weight * jnp.minimum(moved, room), axis=-1)
        slope = jnp.sum(jnp.where(moved < room, weight * rate, 0), axis=-1)
        step = jnp.where(slope > 0, (goal - gain) / jnp.maximum(slope, FLATTEST), 0)
        return length + jnp.maximum(step, 0), length + step > length, count + 1

    def unfinished(carry: Climb) -> jax.Array:
        return jnp.any(carry[1]) & (carry[2] < MOST_STEPS)

    start = jnp.zeros_like(goal), jnp.ones(goal.shape, bool), jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(unfinished, climb, start)[0]


def per_image(values: jax.Array, images: jax.Array) -> jax.Array:
    """[B] as [B, 1, ...], to meet images [B, ...]."""
    return values.reshape(-1, *(1,) * (images.ndim - 1))
