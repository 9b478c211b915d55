"""The network on the batches of a pass, in either form, and the moments of a step's forwards."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import row_groups
from sadajem_jax.batch_norm import forward
from sadajem_jax.objective import Passes


def of_pass(
    model: nn.Module, variables: Any, images: Passes, *, together: bool
) -> tuple[Any, jax.Array]:
    """Training-mode forwards of a pass's batches; batch norm takes each batch by itself.

    Args:
      model: as of `batch_norm.forward`.
      variables: what `model.apply` takes.
      images: [B, H, W, channels] each.
      together: one forward for all, a third of the kernels on a GPU; on the CPU, where a launch
        costs nothing, forwards one after another are faster. They agree to rounding.

    Returns:
      (logits of each, moments [n, M] of the n batches that there are, in their order).
    """
    batches, structure = jax.tree.flatten(images)
    if not together:
        outputs = [forward(model, variables, x) for x in batches]
        logits, rows = zip(*outputs, strict=True)
        return jax.tree.unflatten(structure, logits), jnp.concatenate(rows)
    sizes = [len(x) for x in batches]
    groups = row_groups.of_sizes(sizes)
    joined, moments = forward(model, variables, jnp.concatenate(batches), groups)
    return jax.tree.unflatten(structure, jnp.split(joined, np.cumsum(sizes)[:-1])), moments


def in_released_order(moments: jax.Array, chain: jax.Array | None) -> jax.Array:
    """Of a step's forwards [n, M]: data, chain 1..K, negatives, further, labelled.

    Args:
      moments: [m, M] of the first pass, see `of_pass`.
      chain: [K, 1, M] of the chain's forwards ([K, 0, M]: in evaluation mode); None without one.
    """
    if chain is None:
        return moments
    steps, each, size = chain.shape
    return jnp.concatenate([moments[:1], chain.reshape(steps * each, size), moments[1:]])
