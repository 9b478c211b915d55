"""Learning rates over a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sadajem_jax.training import schedule

CIFAR_STEPS = 200 * 390


def rates(name: str, peak: float, total: int, steps: list[int]) -> np.ndarray:
    """The rates of some steps."""
    rate = schedule.learning_rate(name, peak, total)
    return np.array([float(rate(step)) for step in steps])


@pytest.mark.parametrize("name", schedule.SCHEDULES)
def test_all_rates_at_once_are_those_step_by_step(name: str) -> None:
    """What is logged as the learning rate of step n is the schedule's value at n - 1."""
    found = schedule.rates(schedule.learning_rate(name, 0.1, 40), 40)
    np.testing.assert_allclose(found, rates(name, 0.1, 40, list(range(40))), atol=1e-7)


@pytest.mark.parametrize("name", schedule.SCHEDULES)
def test_the_warm_up_is_linear_from_0_to_the_peak(name: str) -> None:
    """On CIFAR-10 the rate rises linearly from 0 over 1000 steps and reaches the peak."""
    found = rates(name, 0.1, CIFAR_STEPS, [0, 1, 250, 500, 999, 1000])
    np.testing.assert_allclose(found, [0, 1e-4, 0.025, 0.05, 0.0999, 0.1], rtol=1e-4)


def test_the_steps_are_the_released_milestones() -> None:
    """The rate is multiplied by 0.2 exactly at epochs 60, 120 and 180 of 200."""
    for drops, epoch in enumerate((60, 120, 180)):
        before, after = rates("steps", 0.1, CIFAR_STEPS, [390 * epoch - 1, 390 * epoch])
        np.testing.assert_allclose([before, after], [0.1 * 0.2**drops, 0.1 * 0.2 ** (drops + 1)])
    np.testing.assert_allclose(rates("steps", 0.1, CIFAR_STEPS, [CIFAR_STEPS - 1]), 0.1 * 0.2**3)


def test_the_cosine_is_half_way_in_the_middle_and_0_at_the_end() -> None:
    """After the warm-up the cosine is peak (1 + cos(pi t / T)) / 2, 0 at the end of the run."""
    middle = (1000 + CIFAR_STEPS) // 2
    found = rates("cosine", 0.1, CIFAR_STEPS, [middle, CIFAR_STEPS, CIFAR_STEPS + 5])
    np.testing.assert_allclose(found, [0.05, 0, 0], atol=1e-7)
    quarter = 1000 + (CIFAR_STEPS - 1000) // 4
    expected = 0.05 * (1 + np.cos(np.pi / 4))
    np.testing.assert_allclose(rates("cosine", 0.1, CIFAR_STEPS, [quarter]), expected, rtol=1e-5)


def test_the_constant_stays() -> None:
    """After the warm-up "constant" is the peak to the end."""
    found = rates("constant", 0.3, 400, [20, 21, 200, 399])
    np.testing.assert_allclose(found, 0.3, rtol=1e-6)


@pytest.mark.parametrize(
    ("total", "expected"),
    [(1, 1), (10, 1), (200, 10), (1500, 75), (20_000, 1000), (78_000, 1000)],
)
def test_a_short_run_has_a_short_warm_up(total: int, expected: int) -> None:
    """The warm-up is 1000 steps or 5% of the run, whichever is shorter, and at least one step."""
    assert schedule.warmup_steps(total) == expected


@pytest.mark.parametrize("name", schedule.SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 7, 40])
def test_the_shortest_runs_have_rates(name: str, total: int) -> None:
    """Even in a run of a few steps every rate is finite and between 0 and the peak."""
    found = rates(name, 0.1, total, list(range(total + 1)))
    assert found[0] == 0
    assert np.all(np.isfinite(found) & (found >= 0) & (found <= 0.1 * (1 + 1e-6)))


def test_other_names_are_refused() -> None:
    """An unknown schedule is an error that names it and those there are."""
    with pytest.raises(ValueError, match="steps, cosine, constant, found 'linear'"):
        schedule.learning_rate("linear", 0.1, 100)


def test_milestones_and_decay_are_the_run_s_own() -> None:
    """JEM++'s x0.2 at epochs 50, 100, 125 of 150, JEM's x0.3 at 160 and 180 of 200, to the step."""
    of_jempp: dict[str, Any] = {
        "train.schedule": "steps",
        "train.learning_rate": 0.1,
        "train.decay": 0.2,
    }
    of_jem = of_jempp | {"train.learning_rate": 1e-4, "train.decay": 0.3}
    for settings, shares, epochs, total in (
        (of_jempp, "1/3,2/3,5/6", (50, 100, 125), 150),
        (of_jem, "0.8,0.9", (160, 180), 200),
    ):
        rate = schedule.of(settings | {"train.milestones": shares}, 703 * total)
        peak, decay = settings["train.learning_rate"], settings["train.decay"]
        for drops, epoch in enumerate(epochs):
            before, after = (float(rate(703 * epoch + i)) for i in (-1, 0))
            np.testing.assert_allclose(before, peak * decay**drops, rtol=1e-5)
            np.testing.assert_allclose(after, peak * decay ** (drops + 1), rtol=1e-5)


@pytest.mark.parametrize("text", ["0.5,0.5", "0.6,0.3", "0,0.5", "0.5,1", "1/0", "half"])
def test_milestones_must_rise_within_the_run(text: str) -> None:
    """Shares that do not rise, or lie at an end, or are no numbers, are refused."""
    with pytest.raises(ValueError):
        schedule.milestones(text)
