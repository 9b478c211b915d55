"""Warnings come when something goes wrong, and not otherwise."""

from __future__ import annotations

import numpy as np

from sadajem_jax.training.watch import Watch, spread


def line(gap: float = 0.1, spread: float = 1.0, accuracy: float = 0.5) -> dict[str, float]:
    """What the log averages."""
    return {"log_density_gap": gap, "log_density_data_std": spread, "accuracy": accuracy}


def test_gap_beyond_the_spread_warns_once_an_epoch() -> None:
    """Samples three spreads from the data give one warning an epoch; nearer ones none."""
    watch = Watch(steps_per_epoch=10, first_spread=0.5)
    assert watch.scalars(1, line(gap=2.9)) == []
    (warning,) = watch.scalars(2, line(gap=-3.1))
    assert "above the data" in warning and "troubleshooting.md#gap" in warning
    assert watch.scalars(3, line(gap=-3.1)) == []
    assert len(watch.scalars(12, line(gap=3.1))) == 1


def test_buffer_that_collapses_warns() -> None:
    """A buffer whose spread falls to a fifth of the run's first is told, at a first look too."""
    images = np.random.default_rng(0).uniform(-1, 1, (50, 8, 8, 1))
    watch = Watch(10, spread(images))
    assert watch.buffer(1, images) == [] and watch.buffer(11, images / 2) == []
    (warning,) = watch.buffer(21, images / 5)
    assert "alike" in warning
    assert len(Watch(10, spread(images)).buffer(1, images / 5)) == 1


def test_falling_accuracy_warns_after_three_epochs() -> None:
    """Three epochs below the best are told, two are not."""
    watch, told = Watch(steps_per_epoch=1, first_spread=0.5), []
    for step, accuracy in enumerate([0.8, 0.7, 0.7, 0.7], start=1):
        told += watch.scalars(step, line(accuracy=accuracy))
        assert len(told) == (step == 4)
