"""Batches: who moves up, how often a word is heard, and what is compiled how often."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from sadajem_jax.evaluation import autoattack
from sadajem_jax.evaluation.autoattack.attack import Attack
from sadajem_jax.evaluation.autoattack.batches import FASTEST_GROWTH, Pace, Placement, Runner
from tests.evaluation.autoattack import networks


class Count(NamedTuple):
    """How far a row has counted, and whether it has reached its goal."""

    value: jax.Array
    over: jax.Array


def counting(every: int, num_steps: int = 30) -> Attack:
    """Counts each row's steps up to its first value; the candidate is the count."""

    def step(variables: Any, rows: Any, state: Count, number: jax.Array) -> Count:
        value = state.value + ~state.over
        return Count(value, value >= rows.images[:, 0, 0, 0])

    return Attack(
        num_steps=num_steps,
        start=lambda rows: Count(0 * rows.labels, rows.labels > 0),
        step=step,
        result=lambda rows, state: state.value[:, None, None, None],
        gradients=False,
        done=lambda state: state.over,
        every=every,
    )


def counted(goals: list[int], every: int, size: int) -> tuple[list[int], list[int], float]:
    """(what each row counted, the first step of every batch, rows that were told as done)."""
    images = np.array(goals, np.float32).reshape(-1, 1, 1, 1)
    runner = Runner(counting(every), Placement(None, size))
    told: list[float] = []
    begun: list[int] = []
    steps = runner._steps

    def noted(rows: Any, state: Any, between: tuple[int, int], *more: Any) -> Any:
        begun.append(between[0])
        return steps(rows, state, between, *more)

    runner._steps = noted  # type: ignore[method-assign, assignment]
    found, _ = runner(networks.rows(images, np.zeros(len(goals), int)), told.append)
    return found.ravel().tolist(), begun, sum(told)


def test_rows_that_are_done_leave_and_the_others_move_up() -> None:
    """Of 8 rows in batches of 2, six are done in the first round: one batch goes on, to the end."""
    found, begun, told = counted([5, 99, 5, 5, 99, 5, 5, 5], every=10, size=2)
    assert found == [5, 30, 5, 5, 30, 5, 5, 5]
    assert begun == [0, 0, 0, 0, 10, 20]
    assert told == pytest.approx(8)


def test_an_attack_ends_when_all_rows_are_done() -> None:
    """No round is begun for nobody."""
    found, begun, told = counted([5, 12, 7], every=10, size=3)
    assert found == [5, 12, 7] and begun == [0, 10]
    assert told == pytest.approx(3)


@pytest.mark.parametrize("every", [0, 4])
def test_regrouping_changes_no_row(every: int) -> None:
    """In rounds as in one go every row ends where it would alone, in any batch."""
    goals = [*range(1, 34), 2]
    found, _, told = counted(goals, every, size=5)
    assert found == [min(goal, 30) for goal in goals]
    assert told == pytest.approx(len(goals))


def test_programs_take_about_a_second() -> None:
    """Steps of 10 ms go a hundred at a time, such of 3 s one by one, and the pace can change."""
    pace = Pace(1000)
    assert pace.steps == 1
    pace.took(1, 20.0)  # the first compiles
    assert pace.steps == 1
    sizes = []
    for _ in range(4):
        pace.took(pace.steps, 0.01 * pace.steps)
        sizes.append(pace.steps)
    assert sizes == [FASTEST_GROWTH, 64, 100, 100]
    pace.took(100, 300.0)
    assert pace.steps == 1
    few = Pace(5)
    few.took(1, 1e-9)
    assert few.steps == 5


def test_a_second_call_compiles_nothing() -> None:
    """Other sizes, seeds, images and variables of the same shapes trace the network no more."""
    traced = 0

    def network(variables: Any, images: jax.Array) -> jax.Array:
        nonlocal traced
        traced += 1
        return 10 * (images[:, 0, 0] * variables - 0.5)

    images = np.full((2, 1, 1, 4), 0.5, np.float32)
    images[:, 0, 0, 0] += 0.01
    options: dict[str, Any] = {"norm": "l_inf", "batch_size": 2}
    first = autoattack.run(network, 1.0, images, np.zeros(2, int), eps=0.002, **options)
    before = traced
    assert first.robust_accuracy == 1 and before > 0
    images[:, 0, 0, 0] += 0.01
    second = autoattack.run(network, 1.1, images, np.zeros(2, int), eps=0.02, seed=5, **options)
    assert second.robust_accuracy == 0 and traced == before


def test_a_function_that_cannot_be_kept_is_attacked_all_the_same() -> None:
    """A callable without a hash is taken as a new one at every call."""

    class Network:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, variables: Any, images: jax.Array) -> jax.Array:
            return 10 * (images[:, 0, 0] - 0.5)

    images = np.full((1, 1, 1, 2), 0.5, np.float32)
    images[..., 0] = 0.9
    options: dict[str, Any] = {"norm": "l_2", "eps": 0.9, "batch_size": 1}
    result = autoattack.run(Network(), None, images, np.zeros(1, int), **options)
    assert result.robust_accuracy == 0
