"""Expected calibration error: the released value, and models whose calibration is known."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import scipy.special

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation import calibration
from sadajem_jax.workdir.figure import Figure
from tests import places

CLASSES = 5


def planted(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, C] and labels [n] drawn from their own softmax: calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, CLASSES))
    gumbel = -np.log(-np.log(rng.uniform(size=(n, CLASSES))))
    return logits, np.argmax(logits + gumbel, axis=-1)


def bins_of(logits: np.ndarray, labels: np.ndarray) -> calibration.Bins:
    """In the 20 bins of the released program."""
    return calibration.bin_by_confidence(scipy.special.softmax(logits, axis=-1), labels, 20)


@pytest.mark.parametrize(
    "path", places.golden_files("ece/logits"), ids=lambda p: p.stem if p else "none"
)
def test_ece_is_the_released_one(path: pathlib.Path | None) -> None:
    """ECE over 20 bins of the golden logits is the released value to 1e-6."""
    arrays = places.opened(path)
    found = bins_of(arrays["ece/logits"], arrays["ece/labels"]).error
    assert found == pytest.approx(float(arrays["ece/value_20bins"]), rel=1e-6)


def test_a_calibrated_model_has_the_ece_of_chance() -> None:
    """Over 200 seeds the mean ECE of planted models is chance's, within 3 standard errors."""
    bins = [bins_of(*planted(seed, 4000)) for seed in range(200)]
    difference = np.array([b.error - b.error_by_chance for b in bins])
    assert abs(difference.mean()) < 3 * difference.std(ddof=1) / np.sqrt(len(bins))
    assert np.mean([b.error for b in bins]) > 0.005  # biased upward: not 0


def test_the_ece_of_chance_falls_as_one_over_the_root_of_n() -> None:
    """With 16 times the images a calibrated model's mean ECE is a quarter, to 3 standard errors."""
    few, many = (
        np.array([bins_of(*planted(seed, n)).error for seed in range(1000, 1100)])
        for n in (2000, 32_000)
    )
    spread = np.hypot(few.std(ddof=1), 4 * many.std(ddof=1)) / np.sqrt(100)
    assert abs(few.mean() - 4 * many.mean()) < 3 * spread < 0.2 * few.mean()


def test_bins_are_open_below_and_closed_above() -> None:
    """A confidence on an edge belongs to the bin below it, as in the released program."""
    probs = np.array([[0.75, 0.25], [0.76, 0.24], [0.5, 0.5], [1.0, 0.0]])
    bins = calibration.bin_by_confidence(probs, np.zeros(4, int), 4)
    assert bins.images.tolist() == [0, 1, 1, 2]


def test_ece_of_a_known_table() -> None:
    """Two bins by hand: (3 of 4 right at 0.9) and (1 of 2 right at 0.6) give 2/3 .15 + 1/3 .1."""
    probs = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2)
    labels = np.array([0, 0, 0, 1, 0, 1])
    found = calibration.bin_by_confidence(probs, labels, 4).error
    assert found == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.1)


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_the_temperature_undoes_a_known_one(factor: float) -> None:
    """Calibrated logits times a factor are fitted by that temperature, to 5%."""
    logits, labels = planted(0, 20_000)
    found = calibration.fit_temperature(factor * logits, labels)
    assert found == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("validation", [None, planted(1, 400)])
def test_where_all_is_right_there_is_no_temperature(validation: Any) -> None:
    """No best T: neither it nor a scaled ECE is given, and a note says why; the rest is there."""
    logits, labels = planted(0, 400)
    if validation is not None:
        validation = (validation[0], validation[0].argmax(axis=-1))
    items = list(calibration.from_logits(logits, logits.argmax(axis=-1), 20, validation))
    assert set(numbers(items)) == {
        f"calibration/{name}" for name in ("ece", "ece_by_chance", "ece_unscaled", "nll_unscaled")
    }
    assert any("No temperature" in item for item in items if isinstance(item, str))
    for factor in (1, 1e5):  # also where the likelihood is flat, at its highest, to rounding
        assert calibration.fit_temperature(factor * logits, logits.argmax(axis=-1)) is None
    assert calibration.fit_temperature(-logits, logits.argmax(axis=-1)) is None  # T at its end
    assert calibration.fit_temperature(logits, labels) is not None


def test_temperature_is_judged_on_other_images_than_it_is_fitted_on() -> None:
    """The halves share no image; a validation set leaves the whole test set for judging."""
    fit, judge = calibration.halves(101)
    assert sorted([*fit, *judge]) == list(range(101)) and abs(len(fit) - len(judge)) == 1
    logits, labels = planted(0, 3000)
    overconfident = 3 * logits
    split = numbers(calibration.from_logits(overconfident, labels, 20))
    held_out = numbers(calibration.from_logits(overconfident, labels, 20, planted(1, 3000)))
    assert held_out["calibration/ece_unscaled"] == held_out["calibration/ece"]
    assert held_out["calibration/temperature"] == pytest.approx(1, rel=0.1)
    assert split["calibration/temperature"] == pytest.approx(3, rel=0.15)
    assert split["calibration/ece_scaled"] < split["calibration/ece_unscaled"] / 3
    assert split["calibration/nll_scaled"] < split["calibration/nll_unscaled"] - 0.1


def numbers(items: object) -> dict[str, float]:
    """The numbers among an evaluator's items."""
    return dict(i for i in items if isinstance(i, tuple) and not isinstance(i, Figure))  # type: ignore[attr-defined]


def test_diagram_holds_what_it_draws() -> None:
    """The figure is a PNG, and its arrays give the ECE of its bins back."""
    logits, labels = planted(0, 500)
    figure = calibration.reliability_diagram(logits, labels, 0.1)
    a = figure.arrays
    full = a["images"] > 0
    gap = np.abs(a["accuracy"] - a["confidence"])[full]
    assert figure.data.startswith(b"\x89PNG") and figure.suffix == ".png"
    assert (gap * a["images"][full]).sum() / 500 == pytest.approx(bins_of(logits, labels).error)


def test_logits_that_are_no_numbers_are_refused() -> None:
    """A model of NaN gives a line that says of how many images, not a NaN."""
    with pytest.raises(UserError, match="6 of 6 images"):
        list(calibration.from_logits(np.full((6, 10), np.nan), np.zeros(6, int), 20))
