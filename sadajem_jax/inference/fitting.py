"""Images brought to another set's shape: the centred square, resized, grey where that one is."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def fit(images: Iterable[np.ndarray], size: int, channels: int) -> tuple[np.ndarray, str]:
    """Images in another set's shape.

    Args:
      images: [H, W, channels] each, all of one shape or each of its own.
      size: pixels of a side.
      channels: 1 or 3.

    Returns:
      [N, size, size, channels], as they were where they fit already, and what was done to them.
    """
    if isinstance(images, np.ndarray) and images.shape[1:] == (size, size, channels):
        return images, ""
    fitted, cut, resized, recoloured = [], False, False, False
    for image in images:
        cut |= image.shape[0] != image.shape[1]
        resized |= min(image.shape[:2]) != size
        recoloured |= channels == 1 and _is_coloured(image)
        fitted.append(_fit(image, size, channels))
    done = ["the centred square of each"] * cut + [f"resized to {size}x{size}"] * resized
    done += ["turned to grey"] * recoloured
    return np.stack(fitted), "; " * bool(done) + ", ".join(done)


def _is_coloured(image: np.ndarray) -> bool:
    """Whether grey would be another picture: a grey file is read in three equal channels."""
    return image.ndim == 3 and bool((image != image[..., :1]).any())


def _fit(image: np.ndarray, size: int, channels: int) -> np.ndarray:
    from PIL import Image

    grey = image.ndim == 2 or image.shape[-1] == 1
    plane = Image.fromarray(image.reshape(image.shape[:2]) if grey else image)
    plane = plane.convert("L" if channels == 1 else "RGB")
    side = min(plane.size)
    left, top = (plane.width - side) // 2, (plane.height - side) // 2
    square = plane.crop((left, top, left + side, top + side))
    if side != size:
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(square).reshape(size, size, channels)
