"""Projected gradient descent in the L_inf ball (Madry et al. 2018, arXiv 1706.06083), on the host.

Elementwise float32, so that no point depends on a device.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Ball(NamedTuple):
    """Where an attack may go: within eps of the clean images, and in [-1, 1].

    Attributes:
      centre: [N, H, W, channels] float32 in [-1, 1].
      eps: radius, on the scale of [-1, 1].
      step_size: on the same scale.
    """

    centre: np.ndarray
    eps: float
    step_size: float

    def start(self, key: jax.Array) -> np.ndarray:
        """A uniform draw from each image's ball, clipped to the box: [N, H, W, channels].

        That of image i is drawn with fold_in(key, i).
        """
        unit = np.asarray(_uniform(self.centre.shape, key))
        return self.inside(self.centre + np.float32(self.eps) * unit)

    def move(self, x: np.ndarray, gradient: np.ndarray, at: np.ndarray) -> np.ndarray:
        """A step of steepest ascent in L_inf, projected.

        Args:
          x: [n, H, W, channels] where the images number `at` stand.
          gradient: as x, up to a positive factor of each image; what is zero or no number does not
            move.
          at: [n] of the ball's images.
        """
        sign = np.sign(np.nan_to_num(gradient, nan=0.0)).astype(np.float32)
        return self.inside(x + np.float32(self.step_size) * sign, at)

    def inside(self, x: np.ndarray, at: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The nearest points of ball and box: of all images, or of those number `at`."""
        near = self.centre[at] + np.clip(x - self.centre[at], -self.eps, self.eps)
        return np.clip(near, -1, 1).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def _uniform(shape: tuple[int, ...], key: jax.Array) -> jax.Array:
    """U(-1, 1) of a shape, row i drawn with fold_in(key, i)."""

    def row(number: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, number), shape[1:], minval=-1, maxval=1)

    return jax.vmap(row)(jnp.arange(shape[0]))
