"""Images as people give them: checked, and brought to [-1, 1]."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from sadajem_jax import augment

IN_UNIT_INTERVAL = (
    "these floats all lie in [0, 1], and are read as [-1, 1], where 0 is middle grey; if they come "
    "from torchvision, or are [0, 1] otherwise, give 2 * x - 1"
)


def as_images(
    x: Any, image_shape: tuple[int, ...], bounds: tuple[float, float] = (-1.0, 1.0)
) -> np.ndarray:
    """Images as NumPy, if they are images of the model.

    Args:
      x: [N, *image_shape], uint8, or floating point within the bounds.
      image_shape: (H, W, channels).
      bounds: of the model's own samples; infinite for JEM, whose chains are not clipped.

    Returns:
      x, its type unchanged.

    Raises:
      TypeError: for another type.
      ValueError: for another shape, or for floats outside the bounds or NaN.
    """
    x = np.asarray(x)
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    if x.dtype != np.uint8 and not is_float:
        raise TypeError(f"expected uint8 images, or floats in [-1, 1], found {x.dtype}")
    if x.ndim != 4 or x.shape[1:] != image_shape:
        expected = ", ".join(map(str, image_shape))
        hint = "; give a single image as x[None]" if x.shape == image_shape else ""
        raise ValueError(f"expected images [N, {expected}], found {list(x.shape)}{hint}")
    low, high = bounds
    if is_float and x.size and not (x.min() >= low and x.max() <= high):
        raise ValueError(
            f"expected floats in [-1, 1], found {x.min()} to {x.max()}; bytes may be given as "
            f"uint8, or scaled by x / 127.5 - 1"
        )
    return x


def users_images(x: Any, *of_model: Any) -> np.ndarray:
    """As `as_images`, of what a user hands to a model: warns where floats look like [0, 1]."""
    x = as_images(x, *of_model)
    if x.dtype != np.uint8 and x.size and x.min() >= 0 and x.max() > 0:
        warnings.warn(IN_UNIT_INTERVAL, stacklevel=3)
    return x


def as_float(x: np.ndarray) -> np.ndarray:
    """uint8 or floating point in [-1, 1] -> float32 in [-1, 1], of the same shape."""
    return _levels()[x] if x.dtype == np.uint8 else x.astype(np.float32)


@functools.cache
def _levels() -> np.ndarray:
    """The 256 levels as `augment.to_float` gives them; NumPy rounds its formula otherwise."""
    return np.asarray(augment.to_float(jnp.arange(256, dtype=jnp.uint8)))
