"""What the network that counts says of images, in full precision."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.evaluation.autoattack.attack import Logits, fooled
from sadajem_jax.evaluation.autoattack.batches import KEPT, Placement
from sadajem_jax.evaluation.autoattack.projections import size

SLACK = 1e-5  # rounding of a norm, as a share of eps, and of a value


class Predictor:
    """Logits, and whether candidates are adversarial images.

    Args:
      logits_fn: of the network that counts.
      placement: where rows go.
      norm: of the balls.
    """

    def __init__(self, logits_fn: Logits, placement: Placement, norm: str) -> None:
        self.placement = placement
        self._logits = placement.jit(precise(logits_fn), "all", "rows")
        self._verify = placement.jit(_verifier(logits_fn, norm), "all", *["rows"] * 4)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """[N, C] of [N, H, W, channels]."""
        place = self.placement
        parts = []
        for index in place.batches(np.arange(len(images))):
            logits = self._logits(place.variables, place.put(images[index]))
            parts.append(np.asarray(logits, np.float32)[: len(index)])
        return np.concatenate(parts)

    def broken(self, candidates: np.ndarray, clean: Any, labels: Any, eps: Any) -> np.ndarray:
        """[N] bool: which of N candidates are misclassified, in their balls [N] and the box."""
        place = self.placement
        rows = (candidates, clean, labels, eps)
        parts = []
        for index in place.batches(np.arange(len(labels))):
            found = self._verify(place.variables, *place.put(tuple(x[index] for x in rows)))
            parts.append(np.asarray(found)[: len(index)])
        return np.concatenate(parts)


@functools.lru_cache(maxsize=KEPT)
def precise(function: Logits) -> Logits:
    """The function with matrix products in full float32, on a GPU too, and logits in float32."""

    def logits(variables: Any, images: jax.Array) -> jax.Array:
        return jnp.asarray(function(variables, images), images.dtype)

    return jax.default_matmul_precision("highest")(logits)


@functools.lru_cache(maxsize=KEPT)
def rounded(function: Logits) -> Logits:
    """A network that computes in whatever it likes; its logits in float32."""

    def logits(variables: Any, images: jax.Array) -> jax.Array:
        return jnp.asarray(function(variables, images), images.dtype)

    return logits


@functools.lru_cache(maxsize=KEPT)
def _verifier(function: Logits, norm: str) -> Callable[..., jax.Array]:
    def verify(
        variables: Any, x: jax.Array, clean: jax.Array, labels: jax.Array, eps: jax.Array
    ) -> jax.Array:
        return fooled(precise(function)(variables, x), labels) & _within(x, clean, norm, eps)

    return verify


def _within(x: jax.Array, clean: jax.Array, norm: str, eps: jax.Array) -> jax.Array:
    """[B] bool: finite and, but for rounding, within eps of the clean image and in the box."""
    near = size(x - clean, norm) <= eps * (1 + SLACK) + SLACK / 10
    boxed = jnp.all((x >= 0) & (x <= 1), axis=tuple(range(1, x.ndim)))
    return near & boxed  # neither holds for what is no number
