"""Auto-PGD: projected gradient ascent with momentum that halves its own step size.

Source: Croce and Hein 2020 (arXiv 2003.01690), algorithm 1 and section 3; where the released code
settles what the paper leaves open, or differs from it, a comment says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sadajem_jax.evaluation.autoattack.attack import Attack, Logits, Rows, choose, fooled
from sadajem_jax.evaluation.autoattack.projections import (
    direction,
    in_box,
    onto_ball,
    per_image,
    size,
)

Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(logits [B, C], labels [B], targets [B]) -> what is raised [B]."""

ITERATIONS = 100
CHECKPOINTS = (22, 41, 57, 70, 80, 87, 93, 99)  # after 22, then intervals 3 shorter, at least 6
MOMENTUM = 0.75  # alpha
RISES = 0.75  # rho: a step size stays if the loss rose in more than this share of an interval


class State(NamedTuple):
    """Where an ascent is; every array [B, ...].

    Attributes:
      x: where the next gradient is taken.
      x_old: the point before it.
      step_size: of each image.
      x_best, grad_best, loss_best: the point of largest loss so far.
      loss: at the last point; 0 before the first iteration.
      rises: how often the loss rose since the last checkpoint.
      halved: whether the step size was halved at the last checkpoint.
      loss_checked: loss_best at the last checkpoint.
      found: the last misclassified point.
      broken: whether there is one.
      zero_gradient: whether all of the first gradient was 0.
    """

    x: jax.Array
    x_old: jax.Array
    step_size: jax.Array
    x_best: jax.Array
    grad_best: jax.Array
    loss_best: jax.Array
    loss: jax.Array
    rises: jax.Array
    halved: jax.Array
    loss_checked: jax.Array
    found: jax.Array
    broken: jax.Array
    zero_gradient: jax.Array


def apgd(logits_fn: Logits, loss_fn: Loss, *, norm: str) -> Attack:
    """Auto-PGD as a repeated step.

    Args:
      logits_fn: of the network that is searched.
      loss_fn: what is raised.
      norm: "l_inf" or "l_2", of the ball of `rows.eps`.

    Returns:
      An attack of 101 steps: each takes the loss and gradient where it stands and moves on. Step 0
      is the start, so that 100 are iterations; the last move is not looked at.
    """

    def step(variables: Any, rows: Rows, state: State, number: jax.Array) -> State:
        loss, logits, grad = _evaluate(logits_fn, loss_fn, variables, rows, state.x)
        state = _remember(state, loss, grad, fooled(logits, rows.labels), number)
        state, grad = _check(state, grad, number)
        return _move(state, grad, rows, number, norm)

    return Attack(
        num_steps=1 + ITERATIONS,
        start=lambda rows: _start(rows, norm),
        step=step,
        result=lambda rows, state: choose(state.broken, state.found, rows.images),
        gradients=True,
        suspects=lambda state: state.zero_gradient,
    )


def _start(rows: Rows, norm: str) -> State:
    """A random point of norm eps: uniform values for l_inf, a Gaussian direction for l_2."""
    draw = jax.random.normal if norm == "l_2" else _uniform
    noise = jax.vmap(lambda key: draw(key, rows.images.shape[1:], rows.images.dtype))(rows.keys)
    x = in_box(rows.images + per_image(rows.eps, noise) * direction(noise, norm))
    zero, no = jnp.zeros(len(x), x.dtype), jnp.zeros(len(x), bool)
    return State(
        x=x,
        x_old=x,
        step_size=2 * rows.eps,
        x_best=x,
        grad_best=jnp.zeros_like(x),
        loss_best=zero,
        loss=zero,
        rises=jnp.zeros(len(x), jnp.int32),
        halved=~no,  # the second condition cannot hold at the first checkpoint
        loss_checked=zero,
        found=x,
        broken=no,
        zero_gradient=no,
    )


def _uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, minval=-1, maxval=1)


def _evaluate(
    logits_fn: Logits, loss_fn: Loss, variables: Any, rows: Rows, x: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(loss [B], logits [B, C], gradient of each row's loss [B, ...]) at x."""

    def total(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        logits = logits_fn(variables, x)
        loss = loss_fn(logits, rows.labels, rows.targets)
        return jnp.sum(loss), (loss, logits)

    grad, (loss, logits) = jax.grad(total, has_aux=True)(x)
    return loss, logits, grad


def _remember(
    state: State, loss: jax.Array, grad: jax.Array, broken: jax.Array, number: jax.Array
) -> State:
    """The best point, the last misclassified one and the loss's rises, after an evaluation."""
    first = number == 0
    better = first | (loss > state.loss_best)
    best = jnp.where(better, loss, state.loss_best)
    # The released code compares the first iteration's loss with 0, not with the start's.
    rises = state.rises + (~first & (loss > state.loss))
    return state._replace(
        x_best=choose(better, state.x, state.x_best),
        grad_best=choose(better, grad, state.grad_best),
        loss_best=best,
        loss=jnp.where(first, 0, loss),
        rises=rises,
        loss_checked=jnp.where(first, best, state.loss_checked),
        found=choose(broken, state.x, state.found),
        broken=state.broken | broken,
        zero_gradient=jnp.where(first, size(grad, "l_inf") == 0, state.zero_gradient),
    )


def _check(state: State, grad: jax.Array, number: jax.Array) -> tuple[State, jax.Array]:
    """At a checkpoint, halves step sizes that are too large and goes back to the best points.

    Section 3.1, conditions 1 and 2. x_old stays where it was, as in the released code.
    """
    before, at = jnp.array((0, *CHECKPOINTS[:-1])), jnp.array(CHECKPOINTS)
    checked = jnp.any(number == at)
    interval = jnp.sum(jnp.where(number == at, at - before, 0))
    oscillates = state.rises <= RISES * interval
    stuck = ~state.halved & (state.loss_checked >= state.loss_best)
    halve = checked & (oscillates | stuck)
    moved = state._replace(
        x=choose(halve, state.x_best, state.x),
        step_size=jnp.where(halve, state.step_size / 2, state.step_size),
        rises=jnp.where(checked, 0, state.rises),
        halved=jnp.where(checked, halve, state.halved),
        loss_checked=jnp.where(checked, state.loss_best, state.loss_checked),
    )
    return moved, choose(halve, state.grad_best, grad)


def _move(state: State, grad: jax.Array, rows: Rows, number: jax.Array, norm: str) -> State:
    """Moves to P(x + a (z - x) + (1 - a) (x - x_old)), z = P(x + step size * direction): Eq. 3."""
    towards = jnp.sign(grad) if norm == "l_inf" else direction(grad, norm)
    ahead = state.x + per_image(state.step_size, grad) * towards
    z = onto_ball(ahead, rows.images, norm, rows.eps)
    share = jnp.where(number == 0, 1.0, MOMENTUM)
    x = state.x + share * (z - state.x) + (1 - share) * (state.x - state.x_old)
    return state._replace(x=onto_ball(x, rows.images, norm, rows.eps), x_old=state.x)
