"""What a network says of an image: logits, densities and scores, the one way everywhere.

Networks are in evaluation mode, where rows are independent: a result is each image's own. The
network runs in float32 at the highest precision; what its logits then mean is worked out in
float64 on the host, so that confident images seldom tie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from sadajem_jax import energy, sgld
from sadajem_jax.wide_resnet import WideResNet


class Outputs(NamedTuple):
    """What a network gave for N images.

    Attributes:
      logits: [N, C] float32, f(x).
      score_norm: [N] float32, ||d log p(x) / dx||_2 for x in [-1, 1]; None where no gradient was
        taken.
    """

    logits: np.ndarray
    score_norm: np.ndarray | None = None


def logits(network: WideResNet, variables: Any, x: jax.Array) -> dict[str, jax.Array]:
    """{"logits": [B, C]} of images [B, H, W, channels] in [-1, 1]; to be compiled."""
    return {"logits": jnp.asarray(network.apply(variables, x))}


def score(network: WideResNet, variables: Any, x: jax.Array) -> dict[str, jax.Array]:
    """The same with the gradient d log p(x) / dx of each image; to be compiled.

    The released code takes one image's gradient for all.

    Returns:
      {"logits": [B, C], "score": as x, "score_norm": [B], its L2 norm}.
    """

    def log_density(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = jnp.asarray(network.apply(variables, x))
        return energy.log_density(found), found

    # In evaluation mode the gradient of the batch's sum is each row's own.
    gradient, (_, found) = sgld.score(log_density, x)
    norm = jnp.sqrt(jnp.sum(jnp.square(gradient), axis=(1, 2, 3)))
    return {"logits": found, "score": gradient, "score_norm": norm}


def log_density(outputs: Outputs, classes: np.ndarray | None = None) -> np.ndarray:
    """Log p(x) + log Z = logsumexp_y f(x)[y], or f(x)[y] of classes [N], nats: [N] float64."""
    found = outputs.logits.astype(np.float64)
    if classes is None:
        return scipy.special.logsumexp(found, axis=-1)
    return found[np.arange(len(found)), classes]


def probabilities(outputs: Outputs) -> np.ndarray:
    """p(y | x): [N, C] float64."""
    return scipy.special.softmax(outputs.logits.astype(np.float64), axis=-1)


def max_prob(outputs: Outputs) -> np.ndarray:
    """max_y p(y | x): [N] float64."""
    found = outputs.logits.astype(np.float64)
    return 1 / np.sum(np.exp(found - found.max(axis=-1, keepdims=True)), axis=-1)


def approx_mass(outputs: Outputs) -> np.ndarray:
    """-||d log p(x) / dx||_2 (Grathwohl et al. 2020, Eq. 10): [N] float64."""
    assert outputs.score_norm is not None, "approx_mass needs outputs with a gradient"
    return -outputs.score_norm.astype(np.float64)


KINDS: dict[str, Callable[[Outputs], np.ndarray]] = {
    "log_density": log_density,
    "max_prob": max_prob,
    "approx_mass": approx_mass,
}
"""Scores that are higher for what looks like the training data."""
GRADIENT_KINDS = ("approx_mass",)
