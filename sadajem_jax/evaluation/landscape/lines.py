"""E(theta + a d) and the loss along random lines through the parameters (Figures 1 and 7)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.landscape.counting import counter
from sadajem_jax.evaluation.landscape.directions import filter_normalised
from sadajem_jax.evaluation.landscape.surface import Surface


class Lines(NamedTuple):
    """Means over the images, nats an image, along D lines.

    Attributes:
      steps: [P] a, in lengths of the filters.
      energy: [D, P].
      loss: [D, P].
    """

    steps: np.ndarray
    energy: np.ndarray
    loss: np.ndarray


def lines(
    surface: Surface,
    key: jax.Array,
    *,
    directions: int,
    points: int,
    span: float,
    bias_and_norm: str = "ignore",
    progress: Advance | None = None,
) -> Lines:
    """Energy and loss along filter-normalised lines.

    Args:
      surface: E(theta) and the loss.
      key: line i goes along the direction of fold_in(key, i).
      directions: D, of the lines.
      points: P, on each, evenly from -span to span; an odd number has theta itself among them.
      span: how far a line goes either way.
      bias_and_norm: see `filter_normalised`.
      progress: is told how many images of all points are done.
    """
    steps = symmetric(points, span)
    heard = counter(progress, surface.count * directions * points)
    found = np.empty((2, directions, points))
    for i in range(directions):
        along = direction(surface, key, i, bias_and_norm)
        for j, a in enumerate(steps):
            found[:, i, j] = surface.values(surface.theta + a * along, heard)
    return Lines(steps, *found)


def direction(surface: Surface, key: jax.Array, i: int, bias_and_norm: str) -> jax.Array:
    """[P], the i-th filter-normalised direction of a key."""
    drawn = filter_normalised(jax.random.fold_in(key, i), surface.params, bias_and_norm)
    return surface.flat(drawn)


def symmetric(points: int, span: float) -> np.ndarray:
    """Even steps from -span to span, the middle one of an odd number exactly 0.

    Examples:
      >>> symmetric(5, 2.0).tolist()
      [-2.0, -1.0, 0.0, 1.0, 2.0]
    """
    if points < 2:
        raise ValueError(f"a line has at least 2 points, found {points}")
    return span * (2 * np.arange(points) - (points - 1)) / (points - 1)
