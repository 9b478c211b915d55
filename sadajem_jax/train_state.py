"""The state of a run: one immutable pytree, with no constants in it."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax


class TrainState(flax.struct.PyTreeNode):
    """Everything that a step changes.

    Attributes:
      step: int32 scalar, steps done.
      params: parameters of the network.
      batch_stats: running statistics, read by evaluation only; empty without batch norm.
      opt_state: of the optax chain.
      buffer: [N, H, W, channels] float32 in [-1, 1], the replay buffer.
      ema: {"params", "batch_stats"} averaged over the steps; empty where that is off.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    buffer: jax.Array
    ema: Any = flax.struct.field(default_factory=dict)

    @property
    def variables(self) -> Any:
        """What the network's `apply` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def create(
    key: jax.Array,
    model: nn.Module,
    tx: optax.GradientTransformation,
    image_shape: tuple[int, ...],
    buffer: jax.Array,
    *,
    ema: bool = False,
) -> TrainState:
    """A run's first state.

    Args:
      key: for the initial weights.
      model: the network.
      tx: the optimizer.
      image_shape: (H, W, channels).
      buffer: the filled replay buffer [N, H, W, channels].
      ema: whether averages are kept; they start at the first weights.

    Returns:
      The state at step 0.
    """
    variables = jax.jit(model.init)(key, jnp.zeros((1, *image_shape)))
    params, batch_stats = variables["params"], variables.get("batch_stats", {})
    copies = {"params": params, "batch_stats": batch_stats} if ema else {}
    average = jax.tree.map(jnp.copy, copies)  # its own arrays: a donated state holds none twice
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, batch_stats, tx.init(params), buffer, average)
