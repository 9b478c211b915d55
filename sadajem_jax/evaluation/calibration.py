"""Expected calibration error, the reliability diagram (Figure 4), and temperature scaling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation import curves
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.parts import Item, Piece
from sadajem_jax.evaluation.passes import require_finite
from sadajem_jax.workdir.figure import Figure

DIAGRAM_BINS = 20  # of width 0.05, as the released code draws it
SHUFFLE = 20_230_618  # always the same halves
_LOG_TEMPERATURES = (-5.0, 5.0)
_NEAR_THE_END = 1e-3


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


def nll(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of -log softmax(logits)[label], nats: [N, C], [N]."""
    return float(-scipy.special.log_softmax(logits, axis=-1)[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """The T that minimises the mean of -log softmax(logits / T)[label]: [N, C], [N] -> T > 0.

    None where there is none from e^-5 to e^5: where all images are classified rightly the
    likelihood rises for ever as T falls to 0, and where logits say nothing, as T grows.

    Source: Guo et al. 2017, section 4.2.
    """
    logits = np.asarray(logits, np.float64)
    own = logits[np.arange(len(labels)), labels]
    if (own == logits.max(axis=-1)).all():
        return None

    def at(log_temperature: float) -> float:
        return nll(logits / np.exp(log_temperature), labels)

    low, high = _LOG_TEMPERATURES
    found = scipy.optimize.minimize_scalar(at, bounds=_LOG_TEMPERATURES, method="bounded").x
    is_inside = low + _NEAR_THE_END < found < high - _NEAR_THE_END
    return float(np.exp(found)) if is_inside else None


def halves(num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the two halves of a fixed shuffle: one to fit the temperature, one to judge it."""
    order = np.random.default_rng(SHUFFLE).permutation(num_images)
    return np.sort(order[: num_images // 2]), np.sort(order[num_images // 2 :])


def from_logits(
    logits: np.ndarray,
    labels: np.ndarray,
    num_bins: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
) -> Iterator[tuple[str, float] | Figure | str]:
    """Everything about calibration.

    Args:
      logits: [N, C] of the test images.
      labels: [N] int.
      num_bins: of the ECE; 20 as released.
      validation: logits and labels of other images, for the temperature; None takes the first of
        `halves` of the test set for it and judges on the second.

    Yields, the numbers as ("calibration/...", value):
      ece: of all images; ece_by_chance: what a calibrated model would get (see `Bins`).
      temperature: fitted, where there is a best one; a note on which images.
      ece_unscaled, ece_scaled: before and after it, on the images that it is judged on.
      nll_unscaled, nll_scaled: likewise, in nats; the temperature is what makes it least.
    And the reliability diagram.

    Raises:
      UserError: if logits are not finite.
    """
    logits = logits.astype(np.float64)
    require_finite("the logits", logits)
    bins = bin_by_confidence(scipy.special.softmax(logits, axis=-1), labels, num_bins)
    yield "calibration/ece", bins.error
    yield "calibration/ece_by_chance", bins.error_by_chance
    if validation is None:
        fit, judge = halves(len(labels))
        images = "half of the test images, and judged on the other half"
        yield from _scaled((logits[fit], labels[fit]), (logits[judge], labels[judge]), num_bins)
    else:
        images = f"the {len(validation[1]):,} validation images"
        yield from _scaled(validation, (logits, labels), num_bins)
    yield f"The temperature is fitted on {images}."
    yield reliability_diagram(logits, labels, bins.error)


def _scaled(
    fitted_on: tuple[np.ndarray, np.ndarray], judged_on: tuple[np.ndarray, np.ndarray], bins: int
) -> Iterator[tuple[str, float] | str]:
    """The temperature of some images, and ECE and nll of others before and after it."""

    def errors(when: str, temperature: float) -> Iterator[tuple[str, float]]:
        scaled, labels = judged_on[0] / temperature, judged_on[1]
        probs = scipy.special.softmax(scaled, axis=-1)
        yield f"calibration/ece_{when}", bin_by_confidence(probs, labels, bins).error
        yield f"calibration/nll_{when}", nll(scaled, labels)

    temperature = fit_temperature(*fitted_on)
    yield from errors("unscaled", 1)
    if temperature is None:
        yield (
            "No temperature is best: the likelihood is highest at the end of the range searched, "
            "e^-5 to e^5, as where all images are classified rightly."
        )
        return
    yield "calibration/temperature", temperature
    yield from errors("scaled", temperature)


def pieces(asked: Asked) -> Iterator[Piece]:
    """One piece, on the test set; the temperature is fitted on the images held out, if any."""

    def run(progress: Advance) -> Iterator[Item]:
        passes = asked.passes
        yield asked.test_size
        yield from asked.test_size.note(asked.model.spec.name)
        logits, validation = passes.on_test(progress=progress).logits, None
        if passes.held_out is not None:
            images, labels = passes.held_out
            held_out = passes.on(images, progress=progress).logits
            require_finite("the logits", held_out)
            validation = held_out, labels
        yield from from_logits(logits, passes.test.labels, asked.options.num_bins, validation)

    val_size = asked.settings["data.val_size"]
    settings = {"num_bins": asked.options.num_bins, "val_size": val_size}
    checksum = asked.passes.test_checksum
    cost = Cost(forwards=val_size)  # the test set's outputs are those of the accuracy
    yield Piece("calibration", asked.on_test | settings, run, checksum=checksum, cost=lambda: cost)


def reliability_diagram(logits: np.ndarray, labels: np.ndarray, ece: float) -> Figure:
    """Accuracy against confidence in bins of 0.05, and how many images are in each."""
    bins = bin_by_confidence(scipy.special.softmax(logits, axis=-1), labels, DIAGRAM_BINS)
    edges = np.linspace(0, 1, DIAGRAM_BINS + 1)
    with np.errstate(invalid="ignore"):  # an empty bin has neither: NaN, not drawn
        accuracy, confidence = bins.correct / bins.images, bins.confidence / bins.images
    arrays = {"edges": edges, "images": bins.images, "accuracy": accuracy, "confidence": confidence}
    caption = (
        f"Reliability diagram (as the paper's Figure 4) of {len(labels):,} images, bins of 0.05 in "
        f"the confidence max p(y|x). On the dashed line a model is as often right as it says; ECE "
        f"{ece:.2%}."
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
