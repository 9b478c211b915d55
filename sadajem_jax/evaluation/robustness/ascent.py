"""Projected gradient descent: up the cross-entropy by steps of one length, back into the ball.

Source: Madry et al. 2018 (arXiv 1706.06083), section 2.1; in l_2 a step goes along the gradient
divided by its norm.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sadajem_jax.evaluation.autoattack.attack import Attack, Logits, choose, fooled
from sadajem_jax.evaluation.autoattack.losses import cross_entropy
from sadajem_jax.evaluation.autoattack.projections import (
    direction,
    in_box,
    onto_ball,
    per_image,
    size,
)

EVERY = 10  # steps after which broken images leave the batches


class Rows(NamedTuple):
    """The images of a batch and what is asked of each.

    Attributes:
      images: [B, H, W, channels] clean, float32 in [0, 1].
      labels: [B] int.
      keys: [B] one key a row.
      eps: [B] radius of the ball, on the scale of [0, 1].
      step_size: [B] on the same scale.
    """

    images: jax.Array
    labels: jax.Array
    keys: jax.Array
    eps: jax.Array
    step_size: jax.Array


class State(NamedTuple):
    """Where an ascent is; every array [B, ...].

    Attributes:
      x: where the next gradient is taken.
      found: the misclassified point that is kept.
      loss: at that point, in nats; -inf before there is one.
      zero_gradient: whether all of the first gradient was 0.
    """

    x: jax.Array
    found: jax.Array
    loss: jax.Array
    zero_gradient: jax.Array

    @property
    def broken(self) -> jax.Array:
        """[B] bool, whether a point was misclassified."""
        return self.loss > -jnp.inf


def pgd(logits_fn: Logits, *, norm: str, num_steps: int, stops: bool) -> Attack:
    """PGD from a random start as a repeated step.

    Args:
      logits_fn: of the network that is searched.
      norm: "l_inf" or "l_2".
      num_steps: after the start.
      stops: whether a misclassified point ends it. Otherwise, for a search that is only an
        approximation, the one of the largest loss is kept, as the surest.

    Returns:
      An attack of 1 + num_steps steps: each looks where it stands, at the start first, and moves.
    """

    def step(variables: Any, rows: Rows, state: State, number: jax.Array) -> State:
        def total(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            logits = logits_fn(variables, x)
            loss = cross_entropy(logits, rows.labels, rows.labels)
            return jnp.sum(loss), (loss, logits)

        grad, (loss, logits) = jax.grad(total, has_aux=True)(state.x)
        better = fooled(logits, rows.labels) & (loss > state.loss)
        take = better & ~state.broken if stops else better
        towards = jnp.sign(grad) if norm == "l_inf" else direction(grad, norm)
        ahead = state.x + per_image(rows.step_size, grad) * towards
        zero = jnp.where(number == 0, size(grad, "l_inf") == 0, state.zero_gradient)
        return State(
            x=onto_ball(ahead, rows.images, norm, rows.eps),
            found=choose(take, state.x, state.found),
            loss=jnp.where(take, loss, state.loss),
            zero_gradient=zero,
        )

    return Attack(
        num_steps=1 + num_steps,
        start=lambda rows: _start(rows, norm),
        step=step,
        result=lambda rows, state: choose(state.broken, state.found, rows.images),
        gradients=True,
        done=(lambda state: state.broken) if stops else None,
        every=EVERY if stops else 0,
        suspects=lambda state: state.zero_gradient,
    )


def _start(rows: Rows, norm: str) -> State:
    """A uniform draw from each image's ball, clipped to the box."""
    draw = _in_l_inf if norm == "l_inf" else _in_l_2
    noise = jax.vmap(lambda key: draw(key, rows.images.shape[1:], rows.images.dtype))(rows.keys)
    x = in_box(rows.images + per_image(rows.eps, noise) * noise)
    far = jnp.full(len(x), -jnp.inf, x.dtype)
    return State(x, x, far, jnp.zeros(len(x), bool))


def _in_l_inf(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, minval=-1, maxval=1)


def _in_l_2(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """A Gaussian direction, and a radius whose d-th power is uniform."""
    along, out = jax.random.split(key)
    noise = jax.random.normal(along, shape, dtype)
    radius = jax.random.uniform(out, (), dtype) ** (1 / noise.size)
    return radius * direction(noise[None], "l_2")[0]
