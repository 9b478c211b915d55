"""PGD on any classifier: whether an image stands at every point of an ascent, the start included.

Usable by itself: `pgd.run(logits_fn, variables, images, labels, norm="l_inf", eps=8 / 255,
step_size=2 / 255)`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.autoattack import checks
from sadajem_jax.evaluation.autoattack.attack import Attack
from sadajem_jax.evaluation.autoattack.batches import KEPT, Placement, Runner
from sadajem_jax.evaluation.autoattack.campaign import (
    MISCLASSIFIED,
    SAVE_SECONDS,
    STANDS,
    keys_of,
)
from sadajem_jax.evaluation.autoattack.predictor import Predictor, precise, rounded
from sadajem_jax.evaluation.autoattack.saved import Save
from sadajem_jax.evaluation.networks import Logits
from sadajem_jax.evaluation.robustness import ascent
from sadajem_jax.evaluation.robustness.ledger import Ledger
from sadajem_jax.evaluation.robustness.unit import of_unit, signed, unit
from sadajem_jax.inference.images import as_float, as_images
from sadajem_jax.workdir.state_format import checksum

BROKEN = "broken"
NUM_STEPS = 50
PURPOSE = 4  # of the keys; AutoAttack's attacks have 0 to 3


class Budget(NamedTuple):
    """A ball and how it is searched, both on the scale of [0, 1]."""

    eps: float
    step_size: float


class Result(NamedTuple):
    """What stands, and what does not, for N images.

    Attributes:
      robust_accuracy: share of all images classified rightly at every point that was tried.
      clean_accuracy: share classified rightly as they are.
      defended: [N] bool, which those of `robust_accuracy` are.
      verdicts: [N] str: "stands", "misclassified" (unattacked), or "broken".
      adversarial: [N, H, W, channels] float32 in [-1, 1], the misclassified image in the ball where
        one was found; elsewhere the clean image.
      zero_gradients: how many images had a gradient of zero at their start: PGD is blind there.
    """

    robust_accuracy: float
    clean_accuracy: float
    defended: np.ndarray
    verdicts: np.ndarray
    adversarial: np.ndarray
    zero_gradients: int


def run(
    logits_fn: Logits,
    variables: Any,
    images: Any,
    labels: np.ndarray,
    *,
    norm: str,
    eps: float = 8 / 255,
    step_size: float = 2 / 255,
    **options: Any,
) -> Result:
    """PGD in one ball; arguments, options and errors are those of `sweep`.

    Examples:
      >>> logits = lambda w, x: w * x.mean(axis=(1, 2))  # a channel a class
      >>> images = np.array([[[[0.9, 0.1]]], [[[0.02, 0.06]]]], np.float32)
      >>> result = run(logits, 1.0, images, np.array([0, 1]), norm="l_inf", batch_size=2)
      >>> result.verdicts.tolist(), result.robust_accuracy
      (['stands', 'broken'], 0.5)
    """
    budgets = [Budget(eps, step_size)]
    (result,) = sweep(logits_fn, variables, images, labels, budgets, norm=norm, **options)
    return result


def sweep(
    logits_fn: Logits,
    variables: Any,
    images: Any,
    labels: np.ndarray,
    budgets: Sequence[Budget],
    *,
    norm: str,
    num_steps: int = NUM_STEPS,
    seed: int = 0,
    search_fn: Logits | None = None,
    batch_size: int = 250,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Advance | None = None,
) -> list[Result]:
    """PGD in balls of growing size, around the same images; compiled once for all.

    An image broken in a ball stays so in every larger one, which holds the same point, and is not
    attacked again.

    Args:
      logits_fn: pure, (variables, x [B, H, W, channels] in [-1, 1]) -> logits [B, C]; no row may
        know of the others (batch norm in evaluation mode).
      variables: what it takes.
      images: [N, H, W, channels] uint8, or floats in [-1, 1].
      labels: [N] int.
      budgets: eps and step size of each ball, eps growing, on the scale of [0, 1].
      norm: "l_inf" or "l_2".
      num_steps: after the start.
      seed: every draw is a function of (seed, image's index), so that no result depends on
        batch_size or the devices but for rounding. In all balls an image starts in one direction.
      search_fn: like `logits_fn`; what the attack follows instead, in a lower precision say. Only
        what `logits_fn` then confirms counts.
      batch_size: images a device takes at a time.
      checkpoint: a file that keeps what was found, replaced after each ball and every half minute
        or so; a call with the same arguments, of a fresh process, goes on from it, and one with
        others replaces it. It stays; delete it at the end.
      progress: told how far it is, in images times balls.

    Returns:
      A result for each budget, in order.

    Raises:
      TypeError: for images that are neither uint8 nor floats.
      ValueError: for images, labels, budgets or logits that do not fit, or a checkpoint that is
        none, in one line.
    """
    x, clean, labels = _checked(images, labels, budgets, norm, batch_size)
    checks.refuse_network(of_unit(logits_fn), variables, clean)
    if num_steps < 0:
        raise checks.Refused(f"num_steps must be at least 0, found {num_steps}")
    placement = Placement(variables, batch_size)
    predictor = Predictor(of_unit(logits_fn), placement, norm)
    logits = predictor.logits(clean)
    checks.refuse_logits(logits, labels)
    search = rounded(of_unit(search_fn)) if search_fn else precise(of_unit(logits_fn))
    runner = Runner(_attack(search, norm, num_steps, search_fn is None), placement)
    identity = {"attack": "pgd", "norm": norm, "budgets": str([[*map(float, b)] for b in budgets])}
    numbers = {"num_steps": num_steps, "seed": int(seed), "rounded": search_fn is not None}
    of = checksum([x, labels, variables]) if checkpoint else ""
    save = Save(checkpoint, {**identity, **numbers, "checksum": of}, Ledger._fields)
    ledger = _kept(save) or Ledger.first(as_float(x), logits.argmax(axis=1) == labels, len(budgets))
    keys = keys_of(jax.random.fold_in(jax.random.key(seed), PURPOSE), np.arange(len(x)))
    heard = _Heard(progress, len(x), len(budgets))
    attack = _Sweep(ledger, save, runner, predictor, heard)
    for number, budget in enumerate(budgets):
        sizes = (np.full(len(x), size, np.float32) for size in budget)
        attack.ball(number, (clean, labels, keys, *sizes))
    return [_result(ledger, as_float(x), number) for number in range(len(budgets))]


def _kept(save: Save) -> Ledger | None:
    """What an earlier call left of this very attack."""
    found = save.read()
    return Ledger(**found) if found else None


def _checked(
    images: Any, labels: Any, budgets: Sequence[Budget], norm: str, batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images as given and in [0, 1], and the labels."""
    x = as_images(images, np.shape(images)[1:])
    clean, labels = unit(x), np.asarray(labels)
    sizes = [budget.eps for budget in budgets]
    for eps in sizes:
        checks.refuse(clean, labels, norm, eps, batch_size)
    for step_size in (budget.step_size for budget in budgets):
        checks.refuse_step_size(step_size)
    if not sizes or sizes != sorted(sizes):
        raise checks.Refused(f"eps must grow from one budget to the next, found {sizes}")
    return x, clean, labels.astype(np.int32)


@functools.lru_cache(maxsize=KEPT)
def _attack(search: Logits, norm: str, num_steps: int, stops: bool) -> Attack:
    """Always the same one, so that its programs are found again."""
    return ascent.pgd(search, norm=norm, num_steps=num_steps, stops=stops)


def _result(ledger: Ledger, clean: np.ndarray, ball: int) -> Result:
    """Of one ball, of those that are over."""
    defended = ledger.stands(ball)
    broken = ledger.right & ~defended
    words = np.where(broken, BROKEN, np.where(defended, STANDS, MISCLASSIFIED))
    return Result(
        robust_accuracy=float(defended.mean()),
        clean_accuracy=float(ledger.right.mean()),
        defended=defended,
        verdicts=words,
        adversarial=np.where(broken[:, None, None, None], ledger.adversarial, clean),
        zero_gradients=int(ledger.zero_gradient[ball].sum()),
    )


class _Heard:
    """Passes on how much is done, where images that are not attacked count as done."""

    def __init__(self, progress: Advance | None, images: int, balls: int) -> None:
        self._progress, self._images, self._balls = progress, images, balls
        self._over, self._rows = 0, 0.0

    def __call__(self, rows: float) -> None:
        self._rows += rows
        self._say(min(int(self._rows), self._images - 1))

    def ball_over(self) -> None:
        """All images are through with a ball."""
        self._over, self._rows = self._over + 1, 0.0
        self._say(0)

    def _say(self, rows: int) -> None:
        if self._progress:
            self._progress(self._over * self._images + rows, self._balls * self._images)


class _Sweep:
    """Attacks what stands, ball after ball, and notes what breaks."""

    def __init__(
        self, ledger: Ledger, save: Save, runner: Runner, predictor: Predictor, heard: _Heard
    ) -> None:
        self._ledger, self._save, self._runner = ledger, save, runner
        self._predictor, self._heard = predictor, heard

    def ball(self, number: int, rows: tuple[Any, ...]) -> None:
        """One ball, but for images that an earlier call has done with; `rows` as `ascent.Rows`."""
        ledger, index = self._ledger, self._ledger.left(number)
        for portion in self._runner.portions(index):
            self._attack(number, portion, ascent.Rows(*(values[portion] for values in rows)))
            ledger.seen[portion] = number + 1
            self._save.write(ledger._asdict(), at_least_after=SAVE_SECONDS)
        if len(index):
            self._save.write(ledger._asdict())
        self._heard.ball_over()

    def _attack(self, number: int, portion: np.ndarray, batch: ascent.Rows) -> None:
        candidates, state = self._runner(batch, self._heard)
        broken = self._predictor.broken(candidates, batch.images, batch.labels, batch.eps)
        self._ledger.broken_in[portion[broken]] = number
        self._ledger.adversarial[portion[broken]] = signed(candidates[broken])
        self._ledger.zero_gradient[number, portion] = np.asarray(state.zero_gradient)
