"""Pixels to floats, and T(x), the augmentation of the classification batch, on the device."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def to_float(images: jax.Array) -> jax.Array:
    """uint8 [...] of 0 to 255 -> float32 [...] in [-1, 1]."""
    # x / 127.5 - 1, compiled, puts white a bit beyond 1; this has the same bits compiled or not
    return (images.astype(jnp.float32) - 127.5) / 127.5


def random_crop_flip(keys: jax.Array, images: jax.Array, *, pad: int, flip: bool) -> jax.Array:
    """Reflect-pads by `pad`, crops back at a random place, flips left to right half of the time.

    Args:
      keys: [B] one key a row.
      images: [B, H, W, channels] of any dtype.
      pad: pixels on every side, less than H and W.
      flip: False for digits and house numbers, whose mirror images are others.

    Returns:
      [B, H, W, channels].
    """
    return jax.vmap(lambda key, image: _crop_flip(key, image, pad, flip))(keys, images)


def _crop_flip(key: jax.Array, image: jax.Array, pad: int, flip: bool) -> jax.Array:
    key_offset, key_flip = jax.random.split(key)
    offset = jax.random.randint(key_offset, (2,), -pad, pad + 1)
    rows = _reflect(offset[0] + jnp.arange(image.shape[0]), image.shape[0])
    columns = _reflect(offset[1] + jnp.arange(image.shape[1]), image.shape[1])
    if flip:
        columns = jnp.where(jax.random.bernoulli(key_flip), columns[::-1], columns)
    return image[rows][:, columns]


def _reflect(index: jax.Array, size: int) -> jax.Array:
    """Indices of a reflect-padded axis, the edge not repeated: -1 -> 1, size -> size - 2."""
    index = jnp.abs(index)
    return jnp.where(index >= size, 2 * (size - 1) - index, index)
