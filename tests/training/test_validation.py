"""When a training evaluates on the way."""

from __future__ import annotations

import pathlib

import pytest

from sadajem_jax.training.validation import Validator


def steps_of(validator: Validator, step: int, total: int) -> list[int]:
    """The steps that a training from `step` to `total` evaluates at."""
    found = []
    while (step := validator.next_step(step)) <= total:
        found.append(step)
    return found


@pytest.mark.parametrize(
    ("every", "begins", "expected"),
    [
        (40, 0, [40, 80, 90]),
        (45, 0, [45, 90]),
        (40, 80, [90]),
        (40, 90, []),  # left between its last checkpoint and its result
        (0, 0, []),
    ],
)
def test_the_last_step_is_evaluated_once(
    every: int, begins: int, expected: list[int], tmp_path: pathlib.Path
) -> None:
    """Every so many steps and at the end, wherever the run begins; never where it is off."""
    validator = Validator(
        tmp_path,
        begins,
        lambda state: {},
        tell=lambda step, found: None,
        every_steps=every,
        total_steps=90,
        judges=False,
        notes={},
    )
    assert steps_of(validator, begins, 90) == expected
