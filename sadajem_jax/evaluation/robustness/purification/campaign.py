"""Whom an attack on a purified classifier is run on, and what is noted of it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from sadajem_jax.evaluation.autoattack.saved import Save
from sadajem_jax.evaluation.passes import require_finite
from sadajem_jax.evaluation.robustness.purification.expectation import Expectation
from sadajem_jax.evaluation.robustness.purification.ledger import (
    BROKEN,
    MISCLASSIFIED,
    STANDS,
    Ledger,
)
from sadajem_jax.evaluation.robustness.purification.pgd import Ball

SAVE_SECONDS = 30.0


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
    """The images' verdicts, stage after stage: a look at the clean images, then PGD's steps.

    Args:
      ball: of the clean images.
      labels: [N] int32.
      judge: whose word counts.
      search: what the attack follows.
      seed: of all draws.
      starts: [N, H, W, channels], where the attack begins, brought into the balls; None: at random.
      save: goes on where it broke off, and keeps what was found.

    Attributes:
      ledger: what was found so far.
    """

    def __init__(
        self,
        ball: Ball,
        labels: np.ndarray,
        *,
        judge: Expectation,
        search: Expectation,
        seed: int,
        starts: np.ndarray | None,
        save: Save,
    ) -> None:
        self.ball, self.labels = ball, labels
        self.judge, self.search, self.seed = judge, search, seed
        self._starts = ball.inside(starts) if starts is not None else self._drawn()
        found = save.read()
        self.ledger = Ledger.of(found) if found else Ledger.first(ball.centre)
        self._save = save

    def stage(self, number: int, *, through_chain: bool, last: bool) -> None:
        """One stage, but for the images that an earlier call has done with."""
        if number == 0:
            self._judge_clean()
        else:
            for at in self._portions(self.search):
                self._step(at, number - 1, through_chain, last)
                self._tried(at)
        self.ledger.stages = number + 1
        self.ledger.tried[:] = False
        self._save.write(self.ledger.arrays(), at_least_after=0.0 if last else SAVE_SECONDS)

    def result(self) -> Result:
        """All that was noted."""
        ledger = self.ledger
        return Result(
            accuracy=float(np.mean(ledger.verdicts == STANDS)),
            clean_accuracy=float(np.mean(ledger.verdicts != MISCLASSIFIED)),
            verdicts=ledger.verdicts.astype(str),
            broken_at=ledger.broken_at,
            points=ledger.points,
            refuted=ledger.refuted,
            gradients=ledger.gradients,
            blind=ledger.blind,
        )

    def _judge_clean(self) -> None:
        """Leaves out what is misclassified as it is; the others go where the attack begins."""
        key = self._key(Purpose.CLEAN)
        for at in self._portions(self.judge):
            right = self._right(at, key)
            self.ledger.verdicts[at[~right]] = MISCLASSIFIED
            self.ledger.points[at[right]] = self._starts[at[right]]
            self._tried(at)

    def _drawn(self) -> np.ndarray:
        return self.ball.start(self._key(Purpose.START))

    def _portions(self, expectation: Expectation) -> Iterator[np.ndarray]:
        """Numbers of the images that stand, but for those that this stage has done with."""
        left = (self.ledger.verdicts == STANDS) & ~self.ledger.tried
        return expectation.portions(np.flatnonzero(left))

    def _tried(self, at: np.ndarray) -> None:
        self.ledger.tried[at] = True
        self._save.write(self.ledger.arrays(), at_least_after=SAVE_SECONDS)

    def _step(self, at: np.ndarray, number: int, through_chain: bool, last: bool) -> None:
        """Looks at where images stand; verifies what looks broken; moves what is not."""
        key, x, labels = self._key(Purpose.ATTACK, number), self.ledger.points[at], self.labels[at]
        if last:
            logits = self.search.logits(x, at, key)
        else:
            found = self.search.ascent(x, labels, at, key, through_chain=through_chain)
            logits = found.logits
        require_finite("logits behind the chain", logits)
        self._verify(at[np.argmax(logits, axis=-1) != labels], number)
        if not last:
            self._move(at, found.gradient)

    def _verify(self, suspected: np.ndarray, number: int) -> None:
        """Notes which candidates fresh chains, and more of them, take for another class too."""
        if not len(suspected):
            return
        right = self._right(suspected, self._key(Purpose.VERIFY, number))
        broken = suspected[~right]
        self.ledger.verdicts[broken], self.ledger.broken_at[broken] = BROKEN, number
        self.ledger.refuted += int(right.sum())

    def _move(self, at: np.ndarray, gradient: np.ndarray) -> None:
        """A step of PGD for those that still stand."""
        ledger, axes = self.ledger, tuple(range(1, gradient.ndim))
        sees = np.isfinite(gradient).all(axis=axes) & (gradient != 0).any(axis=axes)
        ledger.gradients, ledger.blind = ledger.gradients + len(at), ledger.blind + int(sum(~sees))
        stands = ledger.verdicts[at] == STANDS
        at, gradient = at[stands], gradient[stands]
        ledger.points[at] = self.ball.move(ledger.points[at], gradient, at)

    def _right(self, at: np.ndarray, key: jax.Array) -> np.ndarray:
        """[n] bool: whether the judge's averaged logits name the label, where images stand."""
        logits = self.judge.logits(self.ledger.points[at], at, key)
        require_finite("logits behind the chain", logits)
        return np.argmax(logits, axis=-1) == self.labels[at]

    def _key(self, purpose: Purpose, step: int = 0) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(self.seed), purpose)
        return jax.random.fold_in(key, step)
