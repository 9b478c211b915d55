"""The chain that purifies, and the exact gradient back through it, as pure functions of rows.

Back through step t goes v <- J_t' v, where J_t is the step's Jacobian at x_t: a vector-Hessian
product of log p(x), masked where score or values were clipped. That is what `jax.grad` gives of
a scan over `jax.checkpoint(step)`. By hand it may also be cut anywhere, so that it is compiled for
one step where loops are slow, and each row's v can be kept from over- and underflow: 1,500
Jacobians multiply to numbers that no float32 holds.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from sadajem_jax import energy, sgld
from sadajem_jax.evaluation.networks import Logits


def purify(
    logits_fn: Logits,
    kernel: sgld.Langevin,
    variables: Any,
    keys: jax.Array,
    x: jax.Array,
    first: jax.Array | int,
    *,
    num_steps: int,
) -> jax.Array:
    """Steps `first` to first + num_steps - 1 of chains on log p(x) = LSE f(x).

    Args:
      logits_fn: whose rows know nothing of each other (batch norm in evaluation mode).
      kernel: the constants of the Langevin kernel.
      variables: what `logits_fn` takes.
      keys: [R] one key a row; step t draws from fold_in(key, t), as in `sgld.sample`.
      x: [R, H, W, channels] in [-1, 1].
      first: t of the first step, so that a chain may be cut anywhere.
      num_steps: static; one step is compiled without a loop.

    Returns:
      x after these steps.
    """
    log_density = _log_density(logits_fn, variables)
    return sgld.sample(
        keys,
        x,
        log_density,
        kernel,
        num_steps=num_steps,
        first_step=jnp.asarray(first),
        unroll=num_steps == 1,
    )[0]


def pull(
    logits_fn: Logits,
    kernel: sgld.Langevin,
    variables: Any,
    keys: jax.Array,
    x: jax.Array,
    first: jax.Array | int,
    v: jax.Array,
    exponent: jax.Array,
    *,
    num_steps: int,
) -> tuple[jax.Array, jax.Array]:
    """The gradient behind `purify` of these arguments, from the one after it.

    The states between are computed again, and kept: `num_steps` times x.

    Args:
      logits_fn: as of `purify`; so are kernel, variables, keys, x, first and num_steps.
      kernel: see above.
      variables: see above.
      keys: see above.
      x: see above.
      first: see above.
      v: [R, H, W, channels]; the gradient with respect to the steps' result is v 2^exponent.
      exponent: [R] int32.
      num_steps: see above.

    Returns:
      (v, exponent) of the gradient with respect to x; each row's largest |v| is in [1/2, 1).
    """
    log_density = _log_density(logits_fn, variables)

    def step(x: jax.Array, t: jax.Array) -> jax.Array:
        keys_t = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
        return sgld.step(keys_t, x, log_density, kernel)[0]

    def back(carry: Any, at: Any) -> tuple[Any, None]:
        x, t = at
        _, pullback = jax.vjp(functools.partial(step, t=t), x)
        v, exponent = carry
        return normalised(pullback(v)[0], exponent), None

    numbers = jnp.asarray(first) + jnp.arange(num_steps)
    if num_steps == 1:
        return back((v, exponent), (x, numbers[0]))[0]
    _, states = jax.lax.scan(lambda x, t: (step(x, t), x), x, numbers)
    return jax.lax.scan(back, (v, exponent), (states, numbers), reverse=True)[0]


def normalised(v: jax.Array, exponent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same v 2^exponent with the largest |v| of each row in [1/2, 1): no digit is lost.

    Rows of zeros, and those that hold what is no number, stay.

    Args:
      v: [R, ...].
      exponent: [R] int32.

    Examples:
      >>> v, exponent = normalised(jnp.array([[6.0, -3.0]]), jnp.array([1]))
      >>> v.tolist(), exponent.tolist()
      ([[0.75, -0.375]], [4])
    """
    largest = jnp.max(jnp.abs(v), axis=tuple(range(1, v.ndim)))
    _, more = jnp.frexp(largest)
    more = jnp.where(jnp.isfinite(largest), more, 0)
    return jnp.ldexp(v, -more.reshape(-1, *(1,) * (v.ndim - 1))), exponent + more


def _log_density(logits_fn: Logits, variables: Any) -> sgld.LogDensity:
    return lambda x: (energy.log_density(logits_fn(variables, x)), None)
