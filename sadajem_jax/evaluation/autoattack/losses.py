"""What the attacks raise or lower, one value an image.

Source: Croce and Hein 2020 (arXiv 2003.01690), Eq. 6 for DLR and Eq. 9 for its targeted form;
Andriushchenko et al. 2020 (arXiv 1912.00049), section 3.1, for the margin.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sadajem_jax import energy

TINY = 1e-12  # keeps quotients finite, as in the original


def cross_entropy(logits: jax.Array, labels: jax.Array, targets: jax.Array) -> jax.Array:
    """-log p(y | x) in nats: [B, C], [B], targets unused -> [B]."""
    return energy.cross_entropy(logits, labels)


def dlr(logits: jax.Array, labels: jax.Array, targets: jax.Array) -> jax.Array:
    """Difference of logits ratio, -(z_y - max_{i != y} z_i) / (z_(1) - z_(3)).

    It ignores the scale of the logits, so that a confident network hides no gradient from it.

    Args:
      logits: [B, C] with C at least 3; z_(1) is an image's largest.
      labels: [B] int, y.
      targets: unused.

    Returns:
      [B], above 0 where the image is misclassified.

    Examples:
      >>> one = jnp.array([0])
      >>> dlr(jnp.array([[3.0, 2.0, 1.0, 0.0]]), one, one).tolist()
      [-0.5]
    """
    ranked = jnp.sort(logits, axis=-1, descending=True)
    return -margin(logits, labels) / (ranked[:, 0] - ranked[:, 2] + TINY)


def targeted_dlr(logits: jax.Array, labels: jax.Array, targets: jax.Array) -> jax.Array:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2): [B, C >= 4], [B], [B] int t -> [B]."""
    ranked = jnp.sort(logits, axis=-1, descending=True)
    scale = ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2
    return -logit_gap(logits, labels, targets) / (scale + TINY)


def margin(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """z_y - max_{i != y} z_i: [B, C], [B] -> [B], below 0 where the image is misclassified."""
    own = jnp.arange(logits.shape[-1]) == labels[:, None]
    others = jnp.max(jnp.where(own, -jnp.inf, logits), axis=-1)
    return _at(logits, labels) - others


def logit_gap(logits: jax.Array, labels: jax.Array, targets: jax.Array) -> jax.Array:
    """z_y - z_t: [B, C], [B], [B] -> [B]."""
    return _at(logits, labels) - _at(logits, targets)


def _at(logits: jax.Array, classes: jax.Array) -> jax.Array:
    return jnp.take_along_axis(logits, classes[:, None], axis=-1)[:, 0]
