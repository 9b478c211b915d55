"""Pixels to floats, and T(x), the augmentation of a batch, on the device.

SADA-JEM augments the classification batch alone; JEM and JEM++ both batches, with noise on top.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


def to_float(images: jax.Array) -> jax.Array:
    """uint8 [...] of 0 to 255 -> float32 [...] in [-1, 1]."""
    # x / 127.5 - 1, compiled, puts white a bit beyond 1; this has the same bits compiled or not
    return (images.astype(jnp.float32) - 127.5) / 127.5


class Augmentation(NamedTuple):
    """What is done to the images of a stream; by default nothing.

    Attributes:
      pad: pixels of reflect padding before a random crop back.
      flip: whether half of the images are mirrored.
      noise_std: of Gaussian noise added to the floats; JEM's and JEM++'s is 0.03.
      dequantise: whether a byte v becomes a value drawn uniformly from the v-th of 256 equal parts
        of [-1, 1], as IGEBM does it, and not 2 v / 255 - 1.
    """

    pad: int = 0
    flip: bool = False
    noise_std: float = 0.0
    dequantise: bool = False

    @property
    def is_random(self) -> bool:
        """Whether anything is drawn at all."""
        return self != Augmentation()


def augmented(keys: jax.Array | None, images: jax.Array, how: Augmentation) -> jax.Array:
    """Crops and mirrors, turns bytes to floats, and adds noise, which may pass the range.

    Args:
      keys: [B] one key a row; None where nothing is drawn.
      images: [B, H, W, channels] uint8.
      how: see `Augmentation`.

    Returns:
      [B, H, W, channels] float32.
    """
    if keys is None:
        return to_float(images)
    if not how.noise_std and not how.dequantise:
        return to_float(random_crop_flip(keys, images, pad=how.pad, flip=how.flip))
    places, noise, levels = jnp.moveaxis(jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0)
    images = random_crop_flip(places, images, pad=how.pad, flip=how.flip)
    x = dequantised(levels, images) if how.dequantise else to_float(images)
    return x + how.noise_std * _normal(noise, x.shape[1:]) if how.noise_std else x


def dequantised(keys: jax.Array, images: jax.Array) -> jax.Array:
    """Bytes v -> 2 (v + U(0, 1)) / 256 - 1 (Du and Mordatch 2019, in their code on [0, 1]).

    Args:
      keys: [B] one key a row.
      images: [B, H, W, channels] uint8.

    Returns:
      [B, H, W, channels] float32 in [-1, 1).
    """
    drawn = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
    return jnp.minimum((images.astype(jnp.float32) + drawn) / 128 - 1, 1 - 2**-24)


def _normal(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)


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
