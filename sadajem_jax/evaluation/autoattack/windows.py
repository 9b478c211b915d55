"""The windows of Square Attack: their sides, places and, for l_2, what is drawn into them.

Source: Andriushchenko et al. 2020 (arXiv 1912.00049), section 3 and its released code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


def side(share: float, height: int, width: int) -> int:
    """Side of a square of `share` of the area, from 1 to the image's shorter side."""
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def odd_side(share: float, height: int, width: int) -> int:
    """As `side`, but at least 3 and odd, unless the image is smaller."""
    wanted = max(round(math.sqrt(share * height * width)), 3)
    return min(wanted + 1 - wanted % 2, height, width)


def corner(
    key: jax.Array, height: int, width: int, side: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
    """Row and column of a window's first value, from 0 to the last place but one.

    The released code never draws the last place; where a window leaves but one, it is 0.
    """
    row, column = jax.random.uniform(key, (2,))
    return (row * (height - side)).astype(int), (column * (width - side)).astype(int)


def mask(row: jax.Array, column: jax.Array, side: jax.Array, height: int, width: int) -> jax.Array:
    """[H, W, 1] bool: where the window is."""
    rows, columns = jnp.arange(height)[:, None, None], jnp.arange(width)[None, :, None]
    down, right = rows - row, columns - column
    return (down >= 0) & (down < side) & (right >= 0) & (right < side)


def bump(side: int) -> np.ndarray:
    """Two peaks of opposite sign, one above the other, of norm 1: [side, side] float32."""
    upper = side // 2
    both = np.concatenate([_peak(upper, side), -_peak(side - upper, side)])
    return (both / np.linalg.norm(both)).astype(np.float32)


def _peak(height: int, width: int) -> np.ndarray:
    """sum_{k >= d} 1 / (k + 1)^2 at a distance of d (the larger of both ways) from the middle."""
    down, right = np.indices((height, width))
    distance = np.maximum(abs(down - height // 2), abs(right - width // 2))
    terms = 1 / np.arange(1, max(height // 2, width // 2) + 2) ** 2
    peak = np.cumsum(terms[::-1])[::-1][distance]
    return peak / np.linalg.norm(peak)


def bumps(sides: Sequence[int], largest: int) -> np.ndarray:
    """[len(sides), 2 largest, 2 largest]: each bump begins in the middle, with zeros around it."""
    padded = np.zeros((len(sides), 2 * largest, 2 * largest), np.float32)
    for level, side in enumerate(sides):
        padded[level, largest : largest + side, largest : largest + side] = bump(side)
    return padded


def placed(
    padded: jax.Array, row: jax.Array, column: jax.Array, coin: jax.Array, height: int, width: int
) -> jax.Array:
    """A bump at (row, column) of an image, transposed by a coin's toss: [H, W, 1].

    `padded` is [2 L, 2 L] with L at least H and W, as of `bumps`; `coin` is a key.
    """
    turned = jnp.where(jax.random.bernoulli(coin), padded.T, padded)
    middle = len(padded) // 2
    return jax.lax.dynamic_slice(turned, (middle - row, middle - column), (height, width))[
        ..., None
    ]


def tiles(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The start for l_2: bumps of a fifth of the height side by side, each turned and signed.

    Args:
      key: of this image.
      shape: (H, W, channels).

    Returns:
      [H, W, channels]; not normalised.
    """
    height, width, channels = shape
    side = max(height // 5, 1)
    margin = (height - 5 * side) // 2 if height >= 5 else 0
    down, right = (height - margin) // side, (width - margin) // side
    coin, signs = jax.random.split(key)
    turned = jax.random.bernoulli(coin, shape=(down, right, 1, 1))
    one = jnp.asarray(bump(side))
    grid = jnp.where(turned, one.T, one)[..., None]
    grid = grid * jax.random.rademacher(signs, (down, right, 1, 1, channels), one.dtype)
    picture = grid.transpose(0, 2, 1, 3, 4).reshape(down * side, right * side, channels)
    below, beside = height - margin - down * side, width - margin - right * side
    return jnp.pad(picture, ((margin, below), (margin, beside), (0, 0)))
