"""Stochastic gradient Langevin dynamics: one kernel, and the `lax.scan` chain over it.

The same kernel, with the same constants, serves training and generation. It knows nothing of
networks: any log-density will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

LogDensity = Callable[[jax.Array], tuple[jax.Array, Any]]
"""x [B, ...] -> (log-density [B], aux): aux is any pytree, stacked over the chain."""


class Langevin(NamedTuple):
    """The constants of the kernel.

    Attributes:
      step_size: alpha of Algorithm 1, line 5; 1 in the paper.
      noise_std: sigma; 0 in the paper. Textbook Langevin has sigma^2 = 2 alpha.
      grad_clip: the score is clipped to [-grad_clip, grad_clip] value by value (JEM++'s proximal
        clip); infinity leaves it alone.
      bounds: (low, high) of the images; infinities leave them alone.
      noise_first: whether the noise comes before the gradient, which is then taken at the noised
        image (IGEBM), and not after it.
    """

    step_size: float = 1.0
    noise_std: float = 0.0
    grad_clip: float = 1.0
    bounds: tuple[float, float] = (-1.0, 1.0)
    noise_first: bool = False


class SgldInfo(NamedTuple):
    """What a chain of K steps went through, each entry stacked over its steps.

    Attributes:
      log_density: [K, B] before each step.
      score_norm: [K, B] L2 norm of the score before clipping.
      aux: what the log-density function returned, stacked to [K, ...].
    """

    log_density: Any
    score_norm: Any
    aux: Any


def score(log_density: LogDensity, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, Any]]:
    """Gradient of the batch's *sum* of log-densities.

    Where rows are coupled (BatchNorm in training mode) that is what the released chain follows.

    Args:
      log_density: see `LogDensity`.
      x: [B, ...].

    Returns:
      (score [B, ...], (log-density [B], aux)).
    """

    def total(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        value, aux = log_density(x)
        return jnp.sum(value), (value, aux)

    return jax.grad(total, has_aux=True)(x)


def step(
    keys: jax.Array, x: jax.Array, log_density: LogDensity, kernel: Langevin
) -> tuple[jax.Array, SgldInfo]:
    """One Langevin step (Algorithm 1, line 5).

    x' = clip(x + alpha clip(d log p / dx, -c, c) + sigma N(0, I), low, high). Eq. 3 prints
    alpha N for the noise; the released code, and we, have sigma apart. With `noise_first`, as in
    IGEBM (Du and Mordatch 2019), x + sigma N(0, I) stands for x on the right.

    Args:
      keys: [B] one key a row, so that a row's noise does not depend on where it is computed.
      x: [B, ...].
      log_density: see `LogDensity`.
      kernel: the constants.

    Returns:
      (x' [B, ...], info of this step, without the leading K).
    """
    if kernel.noise_first:
        x = _noised(keys, x, kernel.noise_std)
    gradient, (value, aux) = score(log_density, x)
    norm = jnp.sqrt(jnp.sum(jnp.square(gradient), axis=tuple(range(1, x.ndim))))
    x = x + kernel.step_size * jnp.clip(gradient, -kernel.grad_clip, kernel.grad_clip)
    if not kernel.noise_first:
        x = _noised(keys, x, kernel.noise_std)
    return jnp.clip(x, *kernel.bounds), SgldInfo(value, norm, aux)


def _noised(keys: jax.Array, x: jax.Array, noise_std: float) -> jax.Array:
    if noise_std == 0:
        return x
    noise = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)
    return x + noise_std * noise


def sample(
    keys: jax.Array,
    x: jax.Array,
    log_density: LogDensity,
    kernel: Langevin,
    *,
    num_steps: int,
    first_step: int | jax.Array = 0,
    unroll: int | bool = 1,
) -> tuple[jax.Array, SgldInfo]:
    """A chain of `num_steps` Langevin steps from x.

    Args:
      keys: [B] one key a row.
      x: [B, ...] where the chains start.
      log_density: see `LogDensity`.
      kernel: the constants.
      num_steps: K, static; 0 returns x as it is.
      first_step: t of the first step, traced or not: the noise of step t comes from
        fold_in(key of the row, t), so a chain may be cut anywhere and go on.
      unroll: as of `jax.lax.scan`; see `backend.unrolls`. The forms agree to rounding.

    Returns:
      (x after K steps [B, ...], SgldInfo stacked over the K steps).

    Examples:
      >>> keys = jax.random.split(jax.random.key(0), 1)
      >>> bell = lambda x: (-jnp.sum(jnp.square(x), axis=-1) / 2, None)
      >>> x, info = sample(keys, jnp.ones((1, 2)), bell, Langevin(step_size=0.5), num_steps=3)
      >>> x.tolist()
      [[0.125, 0.125]]
    """

    def body(x: jax.Array, t: jax.Array) -> tuple[jax.Array, SgldInfo]:
        return step(jax.vmap(jax.random.fold_in, (0, None))(keys, t), x, log_density, kernel)

    numbers = jnp.arange(num_steps)
    if isinstance(first_step, jax.Array) or first_step:  # from 0 on nothing is added to the program
        numbers = first_step + numbers
    return jax.lax.scan(body, x, numbers, unroll=unroll)
