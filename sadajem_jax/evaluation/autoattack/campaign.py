"""Whom an attack is run on, and what is noted of it: the bookkeeping of the verdicts."""

from __future__ import annotations

import enum
from collections.abc import Callable

import jax
import numpy as np

from sadajem_jax.evaluation.autoattack import checks
from sadajem_jax.evaluation.autoattack.attack import Rows
from sadajem_jax.evaluation.autoattack.batches import Placement, Predictor, Runner

STANDS, MISCLASSIFIED = "stands", "misclassified"

Progress = Callable[[str, int, int], None]
"""(attack, images done, images in all); a batch half through its steps counts half its images."""


class Name(enum.IntEnum):
    """The attacks in their order; the numbers enter the draws and never change."""

    APGD_CE = 0
    APGD_T = 1
    FAB_T = 2
    SQUARE = 3

    @property
    def text(self) -> str:
        """The name in results, as the original has it."""
        return self.name.lower().replace("_", "-")


class Campaign:
    """The images' verdicts, attack after attack.

    Attributes:
      verdicts: [N] str: "stands", "misclassified", or the attack that broke the image.
      adversarial: [N, H, W, channels] the image that was found, or the clean one.
      clean_accuracy: share classified rightly as they are.
      standing: {attack: share left after it}, in order.
      warnings: sentences about what was noticed on the way.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        logits: np.ndarray,
        placement: Placement,
        predictor: Predictor,
        seed: int,
        progress: Progress | None,
    ) -> None:
        self.images, self.labels = images, labels
        self.placement, self.predictor = placement, predictor
        self.seed, self.progress = seed, progress
        self.ranked = np.argsort(-logits, axis=1, kind="stable").astype(np.int32)
        right = self.ranked[:, 0] == labels
        self.verdicts = np.where(right, STANDS, MISCLASSIFIED).astype(object)
        self.clean_accuracy = float(right.mean())
        self.adversarial = images.copy()
        self.standing: dict[str, float] = {}
        self.warnings: list[str] = []
        self._keys = placement.jit(jax.vmap(jax.random.fold_in, (None, 0)), "all", "rows")

    def run(self, name: Name, runner: Runner) -> None:
        """Runs one attack: once, or for each target class on what the ones before it left."""
        attacked = int(np.sum(self.verdicts == STANDS))
        targets = min(self.ranked.shape[1] - 1, checks.MOST_TARGETS)
        ranks = range(1, targets + 1) if name in (Name.APGD_T, Name.FAB_T) else [1]
        suspects: set[int] = set()
        for rank in ranks:
            text = name.text if len(ranks) == 1 else f"{name.text} {rank}/{targets}"
            suspects |= self._pass(text, name, rank, runner)
        if name == Name.APGD_T:
            self.warnings += checks.about_gradients(len(suspects), attacked)
        self.standing[name.text] = self.share_standing()

    def share_standing(self) -> float:
        """Share of all images that no attack so far has broken."""
        return float(np.mean(self.verdicts == STANDS))

    def _pass(self, text: str, name: Name, rank: int, runner: Runner) -> set[int]:
        """Attacks what stands once; returns the images whose first gradient was zero."""
        index = np.flatnonzero(self.verdicts == STANDS)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), name), rank)
        suspects: set[int] = set()
        done = 0
        for portion in self.placement.batches(index):
            hear = self._heard(text, done, len(portion), len(index), runner.attack.num_steps)
            candidates, state = runner(self._rows(portion, rank, key), hear)
            self._judge(name, portion, candidates)
            if runner.attack.suspects:
                zero = np.asarray(runner.attack.suspects(state))[: len(portion)]
                suspects |= set(portion[zero].tolist())
            done += len(portion)
        return suspects

    def _rows(self, portion: np.ndarray, rank: int, key: jax.Array) -> Rows:
        targets = self.ranked[portion, rank]
        images, labels, targets, index = self.placement.put(
            (self.images[portion], self.labels[portion], targets, portion)
        )
        return Rows(images, labels, targets, self._keys(key, index))

    def _judge(self, name: Name, portion: np.ndarray, candidates: jax.Array) -> None:
        """Notes which candidates turn the network that counts."""
        broken = self.predictor.broken(candidates, self.images[portion], self.labels[portion])
        self.verdicts[portion[broken]] = name.text
        self.adversarial[portion[broken]] = np.asarray(candidates)[: len(portion)][broken]

    def _heard(
        self, text: str, before: int, rows: int, total: int, num_steps: int
    ) -> Callable[[int], None]:
        def hear(steps: int) -> None:
            if self.progress:
                self.progress(text, before + rows * steps // num_steps, total)

        return hear
