"""Whom an attack on a purified classifier is run on, and what is noted of it."""

from __future__ import annotations

import enum
from typing import NamedTuple

import jax
import numpy as np

from sadajem_jax.evaluation.passes import require_finite
from sadajem_jax.evaluation.robustness.purification.expectation import Expectation
from sadajem_jax.evaluation.robustness.purification.pgd import Ball

STANDS, MISCLASSIFIED, BROKEN = "stands", "misclassified", "broken"


class Purpose(enum.IntEnum):
    """What a key is for; the numbers enter the draws and never change."""

    START = 0
    CLEAN = 1
    ATTACK = 2
    VERIFY = 3
    SHOW = 4


class Result(NamedTuple):
    """What stands, and what does not, for N images.

    Attributes:
      accuracy: share of all images classified rightly at every point that was tried.
      clean_accuracy: share classified rightly as they are, behind the purifier.
      verdicts: [N] str: "stands", "misclassified" (unattacked), or "broken".
      broken_at: [N] int, the step of PGD whose point broke an image; -1 for the others.
      points: [N, H, W, channels] float32 in [-1, 1]: what broke an image; of one that stands the
        last point tried, of one misclassified the clean image.
      refuted: how often the attack's chains were wrong about a point, and fresh ones were not.
      gradients: how many were taken, an image one, and
      blind: how many of them were zero, or no numbers.
    """

    accuracy: float
    clean_accuracy: float
    verdicts: np.ndarray
    broken_at: np.ndarray
    points: np.ndarray
    refuted: int
    gradients: int
    blind: int


class Campaign:
    """The images' verdicts, step after step.

    Args:
      ball: of the clean images.
      labels: [N] int32.
      judge: whose word counts.
      search: what the attack follows.
      seed: of all draws.
    """

    def __init__(
        self, ball: Ball, labels: np.ndarray, *, judge: Expectation, search: Expectation, seed: int
    ) -> None:
        self.ball, self.labels = ball, labels
        self.judge, self.search, self.seed = judge, search, seed
        self.points = ball.centre.copy()
        self.verdicts = np.full(len(labels), STANDS, object)
        self.broken_at = np.full(len(labels), -1)
        self.refuted = self.gradients = self.blind = 0

    def judge_clean(self) -> None:
        """Leaves out what is misclassified as it is; the others start at random in their balls."""
        right = self._right(np.arange(len(self.labels)), self._key(Purpose.CLEAN))
        self.verdicts[~right] = MISCLASSIFIED
        start = self.ball.start(self._key(Purpose.START))
        self.points[right] = start[right]

    def step(self, number: int, *, through_chain: bool, last: bool) -> None:
        """Looks at where the images stand; verifies what looks broken; moves what is not."""
        at = np.flatnonzero(self.verdicts == STANDS)
        if not len(at):
            return
        key = self._key(Purpose.ATTACK, number)
        if last:
            logits = self.search.logits(self.points[at], at, key)
        else:
            found = self.search.ascent(
                self.points[at], self.labels[at], at, key, through_chain=through_chain
            )
            logits = found.logits
        require_finite("logits behind the chain", logits)
        self._verify(at[np.argmax(logits, axis=-1) != self.labels[at]], number)
        if not last:
            self._move(at, found.gradient)

    def result(self) -> Result:
        """All that was noted."""
        return Result(
            accuracy=float(np.mean(self.verdicts == STANDS)),
            clean_accuracy=float(np.mean(self.verdicts != MISCLASSIFIED)),
            verdicts=self.verdicts.astype(str),
            broken_at=self.broken_at,
            points=self.points,
            refuted=self.refuted,
            gradients=self.gradients,
            blind=self.blind,
        )

    def _verify(self, suspected: np.ndarray, number: int) -> None:
        """Notes which candidates fresh chains, and more of them, take for another class too."""
        if not len(suspected):
            return
        right = self._right(suspected, self._key(Purpose.VERIFY, number))
        broken = suspected[~right]
        self.verdicts[broken], self.broken_at[broken] = BROKEN, number
        self.refuted += int(right.sum())

    def _move(self, at: np.ndarray, gradient: np.ndarray) -> None:
        """A step of PGD for those that still stand."""
        axes = tuple(range(1, gradient.ndim))
        sees = np.isfinite(gradient).all(axis=axes) & (gradient != 0).any(axis=axes)
        self.gradients, self.blind = self.gradients + len(at), self.blind + int((~sees).sum())
        stands = self.verdicts[at] == STANDS
        at, gradient = at[stands], gradient[stands]
        self.points[at] = self.ball.move(self.points[at], gradient, at)

    def _right(self, at: np.ndarray, key: jax.Array) -> np.ndarray:
        """[n] bool: whether the judge's averaged logits name the label, where images stand."""
        logits = self.judge.logits(self.points[at], at, key)
        require_finite("logits behind the chain", logits)
        return np.argmax(logits, axis=-1) == self.labels[at]

    def _key(self, purpose: Purpose, step: int = 0) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(self.seed), purpose)
        return jax.random.fold_in(key, step)
