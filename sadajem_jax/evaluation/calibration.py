"""Expected calibration error, the reliability diagram (Figure 4), and temperature scaling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.optimize
import scipy.special

from sadajem_jax import augment
from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation import curves
from sadajem_jax.evaluation.figure import Figure
from sadajem_jax.evaluation.sharded import ShardedRows
from sadajem_jax.wide_resnet import WideResNet

DIAGRAM_BINS = 20  # of width 0.05, as the released code draws it
SHUFFLE = 20_230_618  # always the same halves
_LOG_TEMPERATURES = (-5.0, 5.0)


class Bins(NamedTuple):
    """Sums over the images whose confidence falls into (lo, hi], [num_bins] each.

    Attributes:
      images: how many.
      confidence: sum of max_y p(y | x).
      correct: images classified rightly.
      variance: sum of p (1 - p), that of `correct` if each confidence p were the truth.
    """

    images: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    variance: np.ndarray

    @property
    def error(self) -> float:
        """sum_b n_b / n |accuracy_b - confidence_b|, the ECE."""
        return float(np.abs(self.correct - self.confidence).sum() / self.images.sum())

    @property
    def error_by_chance(self) -> float:
        """The ECE that a calibrated model of these confidences gets by chance.

        In a bin correct - confidence then has mean 0 and the variance above, and the mean of
        |N(0, v)| is sqrt(2 v / pi): binning makes the ECE positive even where nothing is wrong.
        """
        return float(np.sqrt(2 * self.variance / np.pi).sum() / self.images.sum())


def bin_by_confidence(probs: np.ndarray, labels: np.ndarray, num_bins: int) -> Bins:
    """Groups images by confidence into equal bins (lo, hi].

    Args:
      probs: [N, C].
      labels: [N] int.
      num_bins: of width 1 / num_bins.

    Source: the released evaluation code; Guo et al. 2017, Eq. 3.
    """
    confidence = probs.max(axis=-1)
    correct = probs.argmax(axis=-1) == labels
    edges = np.linspace(0, 1, num_bins + 1)
    # Left of equal values: an edge belongs to the bin below it. Rounding may pass 1.
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(index, weights=values, minlength=num_bins)

    ones = np.ones(len(labels))
    return Bins(sums(ones), sums(confidence), sums(correct), sums(confidence * (1 - confidence)))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T that minimises the mean of -log softmax(logits / T)[label]: [N, C], [N] -> T > 0.

    Source: Guo et al. 2017, section 4.2; e^-5 to e^5 is searched.
    """
    logits = np.asarray(logits, np.float64)

    def nll(log_temperature: float) -> float:
        scaled = scipy.special.log_softmax(logits / np.exp(log_temperature), axis=-1)
        return float(-scaled[np.arange(len(labels)), labels].mean())

    found = scipy.optimize.minimize_scalar(nll, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def halves(num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the two halves of a fixed shuffle: one to fit the temperature, one to judge it."""
    order = np.random.default_rng(SHUFFLE).permutation(num_images)
    return np.sort(order[: num_images // 2]), np.sort(order[num_images // 2 :])


class Calibration:
    """ECE of the classifier, batch norm in evaluation mode; compiled once.

    Args:
      model: the network, in float32.
      batch_size: images a device takes at a time.
      num_bins: of the ECE; 20 as released.
    """

    def __init__(self, model: WideResNet, *, batch_size: int, num_bins: int) -> None:
        def per_row(variables: Any, images: Any) -> dict[str, jax.Array]:
            logits: Any = model.apply(variables, augment.to_float(images))
            return {"logits": logits}

        self._rows = ShardedRows(per_row, batch_size=batch_size)
        self.num_bins = num_bins

    def __call__(
        self,
        variables: Any,
        images: np.ndarray,
        labels: np.ndarray,
        held_out: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Iterator[tuple[str, float] | Figure]:
        """Yields what `from_logits` yields.

        Args:
          variables: {"params": ..., "batch_stats": ...}.
          images: [N, H, W, channels] uint8, the test set.
          labels: [N] int.
          held_out: validation images and labels, for the temperature; None takes half of the test
            set for it and judges on the other half.

        Raises:
          UserError: if logits are not finite.
        """
        logits = self._logits(variables, images)
        validation = held_out and (self._logits(variables, held_out[0]), held_out[1])
        yield from from_logits(logits, labels, self.num_bins, validation)

    def _logits(self, variables: Any, images: np.ndarray) -> np.ndarray:
        logits = self._rows(variables, images)["logits"].astype(np.float64)
        if bad := int((~np.isfinite(logits)).any(axis=-1).sum()):
            raise UserError(f"the logits of {bad:,} of {len(logits):,} images are not finite")
        return logits


def from_logits(
    logits: np.ndarray,
    labels: np.ndarray,
    num_bins: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> Iterator[tuple[str, float] | Figure]:
    """Everything about calibration.

    Yields, each as ("calibration/...", value):
      ece: of all images; ece_by_chance: what a calibrated model would get (see `Bins`).
      temperature: fitted on `validation`, or on the first of `halves`.
      ece_unscaled, ece_scaled: before and after it, on all images, or on the second of `halves`.
    And the reliability diagram.
    """
    bins = bin_by_confidence(scipy.special.softmax(logits, axis=-1), labels, num_bins)
    yield "calibration/ece", bins.error
    yield "calibration/ece_by_chance", bins.error_by_chance
    fit, judge = halves(len(labels))
    on = (logits[judge], labels[judge]) if validation is None else (logits, labels)
    fitted_on = (logits[fit], labels[fit]) if validation is None else validation
    temperature = fit_temperature(*fitted_on)
    yield "calibration/temperature", temperature
    for name, divisor in (("ece_unscaled", 1.0), ("ece_scaled", temperature)):
        probs = scipy.special.softmax(on[0] / divisor, axis=-1)
        yield f"calibration/{name}", bin_by_confidence(probs, on[1], num_bins).error
    yield reliability_diagram(logits, labels, bins.error)


def reliability_diagram(logits: np.ndarray, labels: np.ndarray, ece: float) -> Figure:
    """Accuracy against confidence in bins of 0.05, and how many images are in each."""
    bins = bin_by_confidence(scipy.special.softmax(logits, axis=-1), labels, DIAGRAM_BINS)
    edges = np.linspace(0, 1, DIAGRAM_BINS + 1)
    with np.errstate(invalid="ignore"):  # an empty bin has neither: NaN, not drawn
        accuracy, confidence = bins.correct / bins.images, bins.confidence / bins.images
    arrays = {"edges": edges, "images": bins.images, "accuracy": accuracy, "confidence": confidence}
    caption = (
        f"Reliability diagram (Figure 4) of {len(labels):,} images, bins of 0.05 in the confidence "
        f"max p(y|x). On the dashed line a model is as often right as it says; ECE {ece:.2%}."
    )
    return Figure("reliability", _draw(arrays), ".png", arrays, caption)


def _draw(arrays: dict[str, np.ndarray]) -> bytes:
    figure, (top, bottom) = curves.canvas(2, 1, (4.6, 5.2))
    width = np.diff(arrays["edges"])
    full = arrays["images"] > 0
    middle = (arrays["edges"][:-1] + arrays["edges"][1:]) / 2
    top.bar(middle[full], arrays["accuracy"][full], 0.96 * width[full], color=curves.BLUE)
    at = arrays["confidence"][full]
    top.plot(at, arrays["accuracy"][full], "o", ms=3, color=curves.INK, label="bin, at its mean")
    top.plot([0, 1], [0, 1], "--", color=curves.RED, lw=1, label="calibrated")
    top.set(xlim=(0, 1), ylim=(0, 1))
    curves.heading(top, "share classified rightly")
    top.legend(loc="upper left")
    bottom.bar(middle, arrays["images"], 0.96 * width, color=curves.GREY)
    bottom.set(xlim=(0, 1), xlabel="confidence max p(y|x)")
    curves.heading(bottom, "images")
    return curves.png(figure)
