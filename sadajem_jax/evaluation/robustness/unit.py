"""Between images in [-1, 1], as a network takes them, and in [0, 1], as budgets are stated."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from sadajem_jax.evaluation.autoattack.batches import KEPT
from sadajem_jax.evaluation.networks import Logits


@functools.lru_cache(maxsize=KEPT)
def of_unit(logits_fn: Logits) -> Logits:
    """The same network for images in [0, 1]; the same function again for the same network."""

    def logits(variables: Any, images: jax.Array) -> jax.Array:
        return logits_fn(variables, 2 * images - 1)

    return logits


def unit(images: np.ndarray) -> np.ndarray:
    """uint8, or floats in [-1, 1] -> float32 in [0, 1], of the same shape.

    Examples:
      >>> unit(np.array([0, 51, 255], np.uint8)).tolist(), unit(np.array([-1.0, 0.5])).tolist()
      ([0.0, 0.20000000298023224, 1.0], [0.0, 0.75])
    """
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    return ((images.astype(np.float32) + 1) / 2).astype(np.float32)


def signed(images: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] -> in [-1, 1], with the bits that `of_unit` hands its network."""
    return (2 * images - 1).astype(np.float32)
