"""The network on the batches of a pass, in either form, and the moments of a step's forwards."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import row_groups, row_parts
from sadajem_jax.batch_norm import forward
from sadajem_jax.objective import Passes
from sadajem_jax.row_groups import Layout, Shares


def of_groups(
    model: nn.Module, variables: Any, x: jax.Array, shares: Shares
) -> tuple[jax.Array, jax.Array]:
    """A training-mode forward of one batch, as `batch_norm.forward`.

    Args:
      model: as of `batch_norm.forward`.
      variables: what `model.apply` takes.
      x: [B, H, W, channels].
      shares: of its rows.

    Returns:
      (logits [B, C], moments [norm_groups, M], see `mean_of_groups`).
    """
    return forward(model, variables, x, row_groups.layout([len(x)], shares).groups)


def mean_of_groups(moments: jax.Array) -> jax.Array:
    """The moments of a batch [..., 1, M] from those of its groups [..., G, M], or of none none.

    Of a chain they are taken once, at its end: where groups lie on several devices, a message.
    """
    return moments if moments.shape[-2] < 2 else jnp.mean(moments, axis=-2, keepdims=True)


def of_pass(
    model: nn.Module,
    variables: Any,
    images: Passes,
    *,
    together: bool,
    shares: Shares,
) -> tuple[Any, jax.Array]:
    """Training-mode forwards of a pass's batches; batch norm takes each batch by itself.

    Args:
      model: as of `batch_norm.forward`.
      variables: what `model.apply` takes.
      images: [B, H, W, channels] each.
      together: one forward for all, a third of the convolutions to call on a GPU; on the CPU, where
        a launch costs nothing, forwards one after another are faster. They agree to rounding.
      shares: of each batch's rows.

    Returns:
      (logits of each, moments [n, M] of the n batches that there are, in their order).
    """
    batches, structure = jax.tree.flatten(images)
    if not together:
        outputs = [of_groups(model, variables, x, shares) for x in batches]
        logits, rows = zip(*outputs, strict=True)
        means = [mean_of_groups(moments) for moments in rows]
        return jax.tree.unflatten(structure, logits), jnp.concatenate(means)
    sizes = [len(x) for x in batches]
    laid, x = row_groups.layout(sizes, shares), row_parts.together(batches, shares.parts)
    joined, moments = forward(model, variables, x, laid.groups)
    each = row_parts.asunder(joined, sizes, shares.parts)
    return jax.tree.unflatten(structure, each), _of_batches(moments, laid)


def _of_batches(moments: jax.Array, laid: Layout) -> jax.Array:
    """[n, M] of the batches, the means of their groups' [G, M]."""
    batches = max(laid.owners) + 1
    if len(laid.owners) == batches:
        return moments
    order = np.argsort(laid.owners, kind="stable").reshape(batches, -1)
    return jnp.mean(moments[order], axis=1)


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
