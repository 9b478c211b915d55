"""The joint objective log p(y | T(x)) + log p(x) (Eq. 11), as the loss of one pass."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sadajem_jax import energy


class Weights(NamedTuple):
    """Weights of the loss.

    Attributes:
      px: of the p(x) term. The released second pass forgets it; ours keeps it in both.
      pyx: of the cross-entropy. The released code only switches the term on or off with it.
      l2: of the squared mean log-densities, inside the p(x) term.
    """

    px: float = 1.0
    pyx: float = 1.0
    l2: float = 0.0


class Terms(NamedTuple):
    """The parts of the loss, each a scalar.

    Attributes:
      cross_entropy: mean -log p(y | T(x)), nats.
      accuracy: share of the labelled batch classified right.
      f_data: mean log-density of the data.
      f_data_std: standard deviation of the data's log-density over the batch.
      f_neg: mean log-density of the negative samples.
      px_term: -(f_data - f_neg) + l2 (f_data^2 + f_neg^2), before its weight.
    """

    cross_entropy: jax.Array
    accuracy: jax.Array
    f_data: jax.Array
    f_data_std: jax.Array
    f_neg: jax.Array
    px_term: jax.Array


def joint_loss(
    logits: tuple[jax.Array, ...],
    labels: jax.Array,
    weights: Weights,
) -> tuple[jax.Array, Terms]:
    """Loss of one pass: px [-(f_data - f_neg) + l2 (f_data^2 + f_neg^2)] + pyx CE.

    The l2 penalty squares the batch's *mean* log-density, as released.

    Args:
      logits: of the plain images [B, C], of the negative samples [B, C], which carry no gradient
        of their own, and of the augmented images [L, C].
      labels: [L] int.
      weights: see `Weights`.

    Returns:
      (loss, Terms), scalars.
    """
    logits_data, logits_neg, logits_label = logits
    density = energy.log_density(logits_data)
    f_data, spread = jnp.mean(density), jax.lax.stop_gradient(density).std()
    f_neg = jnp.mean(energy.log_density(logits_neg))
    px_term = f_neg - f_data + weights.l2 * (f_data**2 + f_neg**2)
    cross_entropy = jnp.mean(energy.cross_entropy(logits_label, labels))
    accuracy = jnp.mean((jnp.argmax(logits_label, axis=-1) == labels).astype(f_data.dtype))
    loss = weights.px * px_term + weights.pyx * cross_entropy
    return loss, Terms(cross_entropy, accuracy, f_data, spread, f_neg, px_term)
