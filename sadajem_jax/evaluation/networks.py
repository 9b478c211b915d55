"""A network as the pure function that evaluations of any classifier are written for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sadajem_jax.wide_resnet import WideResNet

Logits = Callable[[Any, jax.Array], jax.Array]
"""(variables, x [B, H, W, channels] float32 in [-1, 1]) -> logits [B, C]; pure."""


@functools.cache
def logits_fn(network: WideResNet, dtype: str = "float32") -> Logits:
    """The network in evaluation mode: always the same function, so that programs are found again.

    Args:
      network: (x [B, H, W, channels], train) -> logits [B, C].
      dtype: that its convolutions compute in; the parameters stay as they are.
    """
    made = network.clone(dtype=jnp.dtype(dtype))

    def logits(variables: Any, x: jax.Array) -> jax.Array:
        return jnp.asarray(made.apply(variables, x))

    return logits
