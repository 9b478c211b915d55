"""The state of a run: one immutable pytree, with no constants in it."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from sadajem_jax.wide_resnet import WideResNet


class TrainState(flax.struct.PyTreeNode):
    """Everything that a step changes.

    Attributes:
      step: int32 scalar, steps done.
      params: parameters of the network.
      batch_stats: running statistics, read by evaluation only; empty without batch norm.
      opt_state: of the optax chain.
      buffer: [N, H, W, channels] float32 in [-1, 1], the replay buffer.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    buffer: jax.Array


def create(
    key: jax.Array,
    model: WideResNet,
    tx: optax.GradientTransformation,
    image_shape: tuple[int, ...],
    buffer: jax.Array,
) -> TrainState:
    """A run's first state.

    Args:
      key: for the initial weights.
      model: the network.
      tx: the optimizer.
      image_shape: (H, W, channels).
      buffer: the filled replay buffer [N, H, W, channels].

    Returns:
      The state at step 0.
    """
    variables = jax.jit(model.init)(key, jnp.zeros((1, *image_shape)))
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, tx.init(params), buffer)
