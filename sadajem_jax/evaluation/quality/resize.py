"""TensorFlow 1's bilinear resize, which the Inception network was trained and published with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def weights(size: int, target: int) -> np.ndarray:
    """Share of each old pixel in each new one, along one side.

    New pixel i looks at i * size / target: corners coincide, centres do not, and nothing is
    smoothed when an image shrinks.

    Args:
      size: pixels of the old side.
      target: pixels of the new one.

    Returns:
      [target, size] float64; rows add up to 1, at most two entries each.

    Source: TensorFlow 1, `resize_bilinear` with align_corners=False (no half-pixel centres).

    Examples:
      >>> weights(2, 4).tolist()
      [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]]
    """
    place = np.arange(target) * np.float64(np.float32(size / target))  # a float32 in TensorFlow
    left = np.minimum(place.astype(int), size - 1)
    right = np.minimum(left + 1, size - 1)
    share = np.zeros((target, size))
    np.add.at(share, (np.arange(target), left), 1 - (place - left))
    np.add.at(share, (np.arange(target), right), place - left)
    return share


def bilinear(images: jax.Array, target: int) -> jax.Array:
    """Images [B, H, W, channels], floating point, as [B, target, target, channels]."""
    rows = jnp.asarray(weights(images.shape[1], target), images.dtype)
    columns = jnp.asarray(weights(images.shape[2], target), images.dtype)
    # TF32 would round the pixels to 10 bits.
    wide = jnp.einsum("pw,bhwc->bhpc", columns, images, precision="highest")
    return jnp.einsum("oh,bhpc->bopc", rows, wide, precision="highest")
