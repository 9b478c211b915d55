"""The joint objective log p(y | T(x)) + log p(x) (Eq. 11), as the loss of one pass."""

from __future__ import annotations

from typing import Any, NamedTuple

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


class Passes(NamedTuple):
    """One value for each of the three forwards of a pass: images, logits or moments.

    Attributes:
      data: of the plain images, batch B.
      negatives: of the negative samples, batch B.
      labelled: of the augmented images, batch L.
    """

    data: Any
    negatives: Any
    labelled: Any


class Terms(NamedTuple):
    """The parts of the loss, each a scalar; the names are the metrics'.

    Attributes:
      cross_entropy: mean -log p(y | T(x)), nats.
      accuracy: share of the labelled batch classified right.
      log_density_data: f_data, mean log-density of the data.
      log_density_data_std: standard deviation of the data's log-density over the batch.
      log_density_samples: f_neg, mean log-density of the negative samples.
      px_term: -(f_data - f_neg) + l2 (f_data^2 + f_neg^2), before its weight.
    """

    cross_entropy: jax.Array
    accuracy: jax.Array
    log_density_data: jax.Array
    log_density_data_std: jax.Array
    log_density_samples: jax.Array
    px_term: jax.Array


def joint_loss(logits: Passes, labels: jax.Array, weights: Weights) -> tuple[jax.Array, Terms]:
    """Loss of one pass: px [-(f_data - f_neg) + l2 (f_data^2 + f_neg^2)] + pyx CE.

    The l2 penalty squares the batch's *mean* log-density, as released.

    Args:
      logits: [B, C], [B, C] and [L, C]; the negative samples carry no gradient of their own.
      labels: [L] int.
      weights: see `Weights`.

    Returns:
      (loss, Terms), scalars.
    """
    density = energy.log_density(logits.data)
    f_data, spread = jnp.mean(density), jax.lax.stop_gradient(density).std()
    f_neg = jnp.mean(energy.log_density(logits.negatives))
    px_term = f_neg - f_data + weights.l2 * (f_data**2 + f_neg**2)
    cross_entropy = jnp.mean(energy.cross_entropy(logits.labelled, labels))
    accuracy = jnp.mean((jnp.argmax(logits.labelled, axis=-1) == labels).astype(f_data.dtype))
    loss = weights.px * px_term + weights.pyx * cross_entropy
    return loss, Terms(cross_entropy, accuracy, f_data, spread, f_neg, px_term)
