"""E(theta + a d + b e) and the loss on a random plane through the parameters."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.landscape.counting import counter
from sadajem_jax.evaluation.landscape.lines import direction, symmetric
from sadajem_jax.evaluation.landscape.surface import Surface


class Plane(NamedTuple):
    """Means over the images, nats an image, on a grid.

    Attributes:
      steps: [G] a and b alike, in lengths of the filters.
      energy: [G, G], a row a step b of the second direction, a column a step a of the first.
      loss: [G, G].
    """

    steps: np.ndarray
    energy: np.ndarray
    loss: np.ndarray


def plane(
    surface: Surface,
    key: jax.Array,
    *,
    grid: int,
    span: float,
    bias_and_norm: str = "ignore",
    progress: Advance | None = None,
) -> Plane:
    """Energy and loss on a filter-normalised plane.

    Args:
      surface: E(theta) and the loss.
      key: the directions are those of the first two `lines` of this key.
      grid: G, points along each side.
      span: how far the plane goes either way.
      bias_and_norm: see `filter_normalised`.
      progress: is told how many images of all points are done.
    """
    steps = symmetric(grid, span)
    heard = counter(progress, surface.count * grid * grid)
    first, second = (direction(surface, key, i, bias_and_norm) for i in range(2))
    found = np.empty((2, grid, grid))
    for row, b in enumerate(steps):
        for column, a in enumerate(steps):
            there = surface.theta + a * first + b * second
            found[:, row, column] = surface.values(there, heard)
    return Plane(steps, *found)
