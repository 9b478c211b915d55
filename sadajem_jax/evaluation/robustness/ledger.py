"""What PGD knows of its images, ball after ball; all that has to be kept of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Ledger(NamedTuple):
    """Of N images; the arrays are written to.

    Attributes:
      right: [N] bool, which are classified rightly as they are; only they are attacked.
      adversarial: [N, H, W, channels] in [-1, 1], what broke an image, or the clean one.
      broken_in: [N] int, number of the ball in which an image broke, or -1.
      seen: [N] int, how many balls an image has stood or broken in.
      zero_gradient: [balls, N] bool, whose gradient at the start was zero.
    """

    right: np.ndarray
    adversarial: np.ndarray
    broken_in: np.ndarray
    seen: np.ndarray
    zero_gradient: np.ndarray

    @classmethod
    def first(cls, clean: np.ndarray, right: np.ndarray, balls: int) -> Ledger:
        """Before any attack."""
        number = len(clean)
        broken_in, seen = np.full(number, -1), np.zeros(number, int)
        return cls(right, clean.copy(), broken_in, seen, np.zeros((balls, number), bool))

    def stands(self, ball: int) -> np.ndarray:
        """[N] bool: right, and not broken in this ball or a smaller one, as far as is known."""
        return self.right & ((self.broken_in < 0) | (self.broken_in > ball))

    def left(self, ball: int) -> np.ndarray:
        """Numbers of the images that are to be attacked in a ball."""
        return np.flatnonzero(self.stands(ball) & (self.seen <= ball))
