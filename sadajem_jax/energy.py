"""The energies a classifier's logits define; the sign is fixed here and nowhere else.

Every name follows JEM (Grathwohl et al. 2020, Eq. 5 to 7): E = -log-density, up to log Z.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def log_density(logits: jax.Array) -> jax.Array:
    """Unnormalised log p(x) = logsumexp_y f(x)[y], in nats.

    Args:
      logits: [..., C] outputs f(x) of the classifier.

    Returns:
      [...] log p(x) + log Z.

    Examples:
      >>> float(log_density(jnp.zeros((10,))))  # log 10
      2.3025...
    """
    return jax.nn.logsumexp(logits, axis=-1)


def joint_log_density(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Unnormalised log p(x, y) = f(x)[y], in nats: [..., C] logits, [...] int labels -> [...]."""
    return jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]


def log_density_of(logits: jax.Array, labels: jax.Array | None) -> jax.Array:
    """Unnormalised log p(x), or log p(x | y) = f(x)[y] where labels [...] say the class.

    A class has its own constant, log Z_y, which no gradient of x or of the parameters needs.
    """
    return log_density(logits) if labels is None else joint_log_density(logits, labels)


def energy(logits: jax.Array) -> jax.Array:
    """E(x) = -logsumexp_y f(x)[y]: [..., C] logits -> [...]."""
    return -log_density(logits)


def joint_energy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """E(x, y) = -f(x)[y]: [..., C] logits, [...] int labels -> [...]."""
    return -joint_log_density(logits, labels)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log p(y | x) = E(x, y) - E(x), in nats: [..., C] logits, [...] int labels -> [...]."""
    return joint_energy(logits, labels) - energy(logits)
