"""Whom an attack is run on, and what is noted of it: the bookkeeping of the verdicts."""

from __future__ import annotations

import enum
from collections.abc import Callable

import jax
import numpy as np

from sadajem_jax.evaluation.autoattack import checks
from sadajem_jax.evaluation.autoattack.attack import Rows
from sadajem_jax.evaluation.autoattack.batches import Heard, Runner
from sadajem_jax.evaluation.autoattack.predictor import Predictor
from sadajem_jax.evaluation.autoattack.saved import Ledger, Save

STANDS, MISCLASSIFIED = "stands", "misclassified"
SAVE_SECONDS = 30.0
ROUNDING = 1e-6

Progress = Callable[[str, float, int], None]
"""(attack, images done, images in all); an image half through its steps counts a half.

All are those that stand at the beginning of an attack, or of a target of it; those that an earlier
call has tried are done. Whoever counts attacks up hears of every attack's end once.
"""

keys_of = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))
"""(key, [N] numbers) -> [N] keys."""


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

    Args:
      images: [N, H, W, channels] float32 in [0, 1].
      labels: [N] int.
      logits: [N, C] of the network that counts.
      predictor: of that network.
      eps: radius of the balls.
      seed: of all draws.
      save: goes on where it broke off, and keeps what was found.
      progress: told how far an attack is.

    Attributes:
      ledger: verdicts and images found so far.
      clean_accuracy: share classified rightly as they are.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        logits: np.ndarray,
        predictor: Predictor,
        *,
        eps: float,
        seed: int,
        save: Save,
        progress: Progress | None,
    ) -> None:
        self._images, self._labels, self._predictor = images, labels, predictor
        self._eps = np.full(len(images), eps, np.float32)
        self._seed, self._save, self._progress = seed, save, progress
        self._ranked = np.argsort(-logits, axis=1, kind="stable").astype(np.int32)
        right = self._ranked[:, 0] == labels
        self.clean_accuracy = float(right.mean())
        found, verdicts = save.read(), np.where(right, STANDS, MISCLASSIFIED)
        self.ledger = Ledger.of(found) if found else Ledger.first(verdicts, images)
        self._done: list[Name] = []

    def run(self, name: Name, runner: Runner) -> None:
        """Runs one attack: once, or for each target class on what the ones before it left."""
        targets = min(self._ranked.shape[1] - 1, checks.MOST_TARGETS)
        ranks = range(1, targets + 1) if name in (Name.APGD_T, Name.FAB_T) else [1]
        for rank in ranks:
            text = name.text if len(ranks) == 1 else f"{name.text} {rank}/{targets}"
            if text not in self.ledger.finished:
                self._pass(text, name, rank, runner)
        self._done.append(name)

    @property
    def standing(self) -> dict[str, float]:
        """{attack: share left after it}, in order."""
        over, found = [MISCLASSIFIED], {}
        for name in self._done:
            over.append(name.text)
            found[name.text] = float(np.mean(~np.isin(self.ledger.verdicts, over)))
        return found

    @property
    def warnings(self) -> list[str]:
        """Sentences about what was noticed on the way."""
        name, over = self._judging_gradients, [MISCLASSIFIED]
        if name == Name.APGD_T:
            over.append(Name.APGD_CE.text)  # before it
        attacked = np.sum(~np.isin(self.ledger.verdicts, over)).item()
        zero = self.ledger.zero_gradient.sum().item()
        gradients = checks.about_gradients(name.text, zero, attacked)
        return [*gradients, *checks.about_square(self.standing)]

    @property
    def _judging_gradients(self) -> Name:
        """The attack at whose start gradients of zero are counted: with few classes the first."""
        few = self._ranked.shape[1] < checks.FEWEST_FOR_DLR
        return Name.APGD_CE if few else Name.APGD_T

    def _pass(self, text: str, name: Name, rank: int, runner: Runner) -> None:
        """Attacks what stands once, but for what an earlier call has tried."""
        ledger = self.ledger
        standing = ledger.verdicts == STANDS
        index = np.flatnonzero(standing & ~ledger.tried)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self._seed), name), rank)
        keys = keys_of(key, np.arange(len(self._images)))
        heard = self._heard(text, standing.sum().item() - len(index), standing.sum().item())
        for portion in runner.portions(index):
            candidates, state = runner(self._rows(portion, rank, keys), heard)
            self._judge(name, portion, candidates)
            if name == self._judging_gradients and runner.attack.suspects:
                ledger.zero_gradient[portion] |= np.asarray(runner.attack.suspects(state))
            ledger.tried[portion] = True
            self._save.write(ledger.arrays(), at_least_after=SAVE_SECONDS)
        ledger.finished.append(text)
        ledger.tried[:] = False
        self._save.write(ledger.arrays())

    def _rows(self, portion: np.ndarray, rank: int, keys: jax.Array) -> Rows:
        targets = self._ranked[portion, rank]
        images, labels, eps = self._images[portion], self._labels[portion], self._eps[portion]
        return Rows(images, labels, targets, keys[portion], eps)

    def _judge(self, name: Name, portion: np.ndarray, candidates: np.ndarray) -> None:
        """Notes which candidates turn the network that counts."""
        clean, labels, eps = self._images[portion], self._labels[portion], self._eps[portion]
        broken = self._predictor.broken(candidates, clean, labels, eps)
        self.ledger.verdicts[portion[broken]] = name.text
        self.ledger.adversarial[portion[broken]] = candidates[broken]

    def _heard(self, text: str, tried: int, total: int) -> Heard:
        done = float(tried)

        def hear(rows: float) -> None:
            nonlocal done
            done += rows
            if self._progress:
                self._progress(text, total if done > total - ROUNDING else done, total)

        return hear
