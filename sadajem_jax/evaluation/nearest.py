"""The images of a set that are nearest to others, exactly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sadajem_jax.console.progress import Advance

BLOCK = 1000  # images compared at a time


def nearest(
    queries: np.ndarray, images: np.ndarray, k: int, progress: Advance | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k images nearest to each query, exact: sums of squared bytes are whole numbers.

    Args:
      queries: [Q, ...] uint8.
      images: [N, ...] uint8.
      k: at most N.
      progress: is told how many queries are done.

    Returns:
      (indices [Q, k], distances [Q, k]): L2 of values in [0, 1], ascending.
    """
    found = []
    for number, block in enumerate(_blocks(queries)):
        found.append(_nearest_of_block(block, images, k))
        if progress:
            progress(number * BLOCK + len(block), len(queries))
    rows, squares = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, np.sqrt(squares) / 255


def _nearest_of_block(
    queries: np.ndarray, images: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """(indices [Q, k], squared distances [Q, k]) over blocks of images, the best kept."""
    q = queries.reshape(len(queries), -1).astype(np.float64)
    rows, squares = np.zeros((len(q), 0), int), np.zeros((len(q), 0))
    for number, block in enumerate(_blocks(images)):
        x = block.reshape(len(block), -1).astype(np.float64)
        between = (q**2).sum(axis=1)[:, None] - 2 * q @ x.T + (x**2).sum(axis=1)
        index = np.broadcast_to(number * BLOCK + np.arange(len(x)), between.shape)
        rows, squares = np.hstack([rows, index]), np.hstack([squares, between])
        best = np.argsort(squares, axis=1, kind="stable")[:, :k]
        rows = np.take_along_axis(rows, best, axis=1)
        squares = np.take_along_axis(squares, best, axis=1)
    return rows, squares


def _blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    return (images[i : i + BLOCK] for i in range(0, len(images), BLOCK))
