"""Images as pictures: from [-1, 1] to bytes, many in one grid, and PNG files."""

from __future__ import annotations

import io
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sadajem_jax.workdir import files

GAP = 2  # pixels between the images of a grid, after scaling
WHITE = 255
EMPTY = 228  # a cell without an image: neither gap nor picture


def to_uint8(images: Any) -> NDArray[np.uint8]:
    """Bytes of images in [-1, 1]: the inverse of `x / 127.5 - 1`, exact on all 256 values.

    Args:
      images: floating point, any shape, NumPy or JAX. Values outside [-1, 1] are clipped, because
        SGLD does not keep its samples inside.

    Returns:
      uint8 of the same shape, rounded to the nearest.

    Raises:
      TypeError: if `images` are not floating point (already bytes, say).
      ValueError: if a value is NaN: it has no colour.

    Examples:
      >>> to_uint8(np.array([-1.0, 0.0, 1.0, 1.5])).tolist()
      [0, 128, 255, 255]
    """
    images = np.asarray(images)
    if images.dtype.kind != "f" and images.dtype.name != "bfloat16":
        raise TypeError(f"expected floating-point images in [-1, 1], found {images.dtype}")
    # In float32 at least: in half precision the sum below is rounded, at times to another byte.
    values = images.astype(np.promote_types(images.dtype, np.float32))
    if np.isnan(values).any():
        raise ValueError(f"expected numbers, found {np.isnan(values).sum()} NaN of {values.size}")
    return np.rint((np.clip(values, -1, 1) + 1) * 127.5).astype(np.uint8)


def grid(images: Any, columns: int | None = None, scale: int = 1) -> NDArray[np.uint8]:
    """One picture of many images, row by row, with a white gap of two pixels between them.

    Args:
      images: uint8 `[N, H, W, C]`, N at least 1, C 1 (grey) or 3 (red, green, blue).
      columns: images in a row; if None, the least square that holds all N.
      scale: how many times as wide and high each image becomes, see `enlarged`.

    Returns:
      uint8 `[rows * (H * scale + 2) - 2, columns * (W * scale + 2) - 2, 3]`; cells without an
      image are light grey.

    Raises:
      ValueError: on another shape or type of `images`, or on `columns` or `scale` below 1.
    """
    images = np.asarray(images)
    _check_images(images)
    if columns is None:
        columns = math.ceil(math.sqrt(len(images)))
    if columns < 1 or scale < 1:
        raise ValueError(f"expected columns >= 1 and scale >= 1, found {columns} and {scale}")
    rows = math.ceil(len(images) / columns)
    images = enlarged(images, scale)
    count, height, width, _ = images.shape
    cells = np.full((rows * columns, height + GAP, width + GAP, 3), WHITE, np.uint8)
    cells[:count, :height, :width] = images  # one channel broadcasts to three
    cells[count:, :height, :width] = EMPTY
    cells = cells.reshape(rows, columns, height + GAP, width + GAP, 3).swapaxes(1, 2)
    return cells.reshape(rows * (height + GAP), columns * (width + GAP), 3)[:-GAP, :-GAP]


def enlarged(images: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Small images made larger, smoothly (bicubic): blocks of 8x8 pixels are hard to read.

    Args:
      images: uint8 `[N, H, W, 1 or 3]`.
      scale: how many times as wide and high.

    Returns:
      uint8 `[N, H * scale, W * scale, 1 or 3]`.
    """
    if scale == 1:
        return images
    count, height, width, channels = images.shape
    size = width * scale, height * scale
    flat = images[..., 0] if channels == 1 else images
    larger = [Image.fromarray(x).resize(size, Image.Resampling.BICUBIC) for x in flat]
    return np.stack([np.asarray(x) for x in larger]).reshape(count, *size[::-1], channels)


def save_png(path: str | os.PathLike[str], image: Any) -> None:
    """Writes one picture as a PNG file, atomically; creates its folder.

    Args:
      path: the file; a reader finds the old picture or the new, never a part of it.
      image: uint8 `[H, W, 3]`, as `grid` returns.

    Raises:
      ValueError: on another shape or type.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"expected uint8 [H, W, 3], found {image.dtype} {list(image.shape)}")
    data = io.BytesIO()
    Image.fromarray(image).save(data, format="PNG")
    files.write_bytes_atomically(path, data.getvalue())


def _check_images(images: NDArray[Any]) -> None:
    """Raises unless `images` are uint8 `[N, H, W, 1 or 3]` with N at least 1."""
    shaped = images.ndim == 4 and len(images) > 0 and images.shape[-1] in (1, 3)
    if images.dtype != np.uint8 or not shaped:
        raise ValueError(
            f"expected uint8 [N, H, W, 1 or 3] with N >= 1, found {images.dtype} "
            f"{list(images.shape)}. Images in [-1, 1] go through to_uint8 first."
        )
