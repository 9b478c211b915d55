"""Batch normalisation that moves nothing: a forward gives its moments, one function folds them.

The released program moves the running statistics in every forward of the first pass and in none of
the second. Here a forward in training mode hands its batch's moments out, and `fold_statistics` is
the released order, written down once. PyTorch's conventions: the unbiased variance is what runs.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

MOMENTS = "moments"  # the collection that a training-mode forward sows its batch moments into
STATISTICS_MOMENTUM = 0.1  # new = 0.1 old + 0.9 batch: PyTorch's momentum 0.9 is Flax's 0.1
EPSILON = 1e-5


def forward(network: nn.Module, variables: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    """A training-mode forward.

    Args:
      network: (x [B, H, W, channels], train) -> logits [B, C].
      variables: what `network.apply` takes.
      x: [B, H, W, channels].

    Returns:
      (logits [B, C], the batch's moments in the structure of "batch_stats", empty without norms).
    """
    logits, sown = network.apply(variables, x, train=True, mutable=[MOMENTS])
    return logits, sown.get(MOMENTS, {})


def frozen_forward(network: nn.Module, variables: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    """An evaluation-mode forward, as `forward`: it normalises by what runs, and has no moments."""
    return jnp.asarray(network.apply(variables, x)), {}


def fold_statistics(
    batch_stats: Any, data: Any, chain: Any, negatives: Any, label: Any, further: Any = ()
) -> Any:
    """Running statistics after the forwards of a first pass, in the released order.

    data, chain 1..K, negatives, labelled: each moves them by new = 0.1 old + 0.9 batch, so 90% of
    the result is the labelled batch's. A forward that was not made, or in evaluation mode, has an
    empty tree for its moments and moves nothing.

    Args:
      batch_stats: the running statistics before.
      data: moments of the data's forward, the same structure.
      chain: moments of the chain's forwards, each leaf with a leading axis K.
      negatives: moments of the negative samples' forward.
      label: moments of the labelled batch's forward.
      further: moments of other forwards, one tree each; they come before the labelled batch's.

    Returns:
      The running statistics after.
    """

    def fold(old: jax.Array, *given: jax.Array) -> jax.Array:
        moments = jnp.concatenate([m if m.ndim > old.ndim else m[None] for m in given])
        age = jnp.arange(len(moments))[::-1].astype(old.dtype)
        weights = (1 - STATISTICS_MOMENTUM) * STATISTICS_MOMENTUM**age
        kept = STATISTICS_MOMENTUM ** len(moments)
        return kept * old + jnp.tensordot(
            weights, moments.astype(old.dtype), 1, precision="highest"
        )

    in_order = (data, chain, negatives, *further, label)
    return jax.tree.map(fold, batch_stats, *(tree for tree in in_order if jax.tree.leaves(tree)))


class BatchNorm(nn.Module):
    """Batch normalisation that reads running statistics but never moves them.

    In training mode it normalises with the batch's moments and sows them (`mean`, and `var`
    unbiased, as PyTorch stores it) into the collection "moments", which then has the structure of
    "batch_stats"; `fold_statistics` composes them in the released order.
    """

    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C]; moments and normalisation in at least float32."""
        features = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, features, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, features, self.param_dtype)
        mean = self.variable("batch_stats", "mean", jnp.zeros, features, self.param_dtype)
        var = self.variable("batch_stats", "var", jnp.ones, features, self.param_dtype)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        batch_mean, batch_var = self._moments(x) if train else (mean.value, var.value)
        gain = scale * jax.lax.rsqrt(batch_var + EPSILON)
        return (x * gain + (bias - batch_mean * gain)).astype(self.dtype)

    def _moments(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        count = x.size // x.shape[-1]
        mean = jnp.mean(x, axis=(0, 1, 2))
        # in one pass over x, as Flax does; two passes cost a sixth of a CPU step
        var = jnp.maximum(jnp.mean(jnp.square(x), axis=(0, 1, 2)) - jnp.square(mean), 0)
        self.sow(MOMENTS, "mean", mean, reduce_fn=_latest, init_fn=_nothing)
        unbiased = var * (count / max(count - 1, 1))
        self.sow(MOMENTS, "var", unbiased, reduce_fn=_latest, init_fn=_nothing)
        return mean, var


def _latest(_: Any, new: jax.Array) -> jax.Array:
    return new


def _nothing() -> None:
    return None
