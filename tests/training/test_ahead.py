"""The feeds of a run, one made ahead."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sadajem_jax.training.ahead import Feeds


class Maker:
    """Windows of four steps, the one from step 4 on cut in two; notes what it made, and where."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.threads: list[bool] = []

    def __call__(self, step: int) -> tuple[Any, int]:
        self.made.append(step)
        self.threads.append(threading.current_thread() is threading.main_thread())
        if step == 12:
            raise ValueError("no feed")
        end = 6 if 4 <= step < 6 else step - step % 4 + 4
        return f"feed of {step}", end


@pytest.mark.parametrize("ahead", [False, True])
def test_each_feed_is_made_once_in_order(ahead: bool) -> None:
    """From any step on, every step gets the feed of its window, each made once, the next ahead."""
    make = Maker()
    feeds = Feeds(make, 12, ahead=ahead)
    assert [feeds.at(step)[1] for step in range(1, 12)] == [4] * 3 + [6] * 2 + [8] * 2 + [12] * 4
    assert make.made == [1, 4, 6, 8]  # and none for what lies beyond the run
    assert make.threads == [True] + [not ahead] * 3


def test_a_step_that_was_not_expected_has_its_own_feed() -> None:
    """After a jump the feed begun for another step is left, never taken for this one's."""
    feeds = Feeds(Maker(), 100, ahead=True)
    assert feeds.at(0) == ("feed of 0", 4)
    assert feeds.at(21) == ("feed of 21", 24)
    assert feeds.at(24) == ("feed of 24", 28)


def test_what_fails_ahead_fails_where_it_is_needed() -> None:
    """An error of the thread is raised when the feed is asked for, and not before."""
    feeds = Feeds(Maker(), 100, ahead=True)
    assert feeds.at(8)[1] == feeds.at(11)[1] == 12
    with pytest.raises(ValueError, match="no feed"):
        feeds.at(12)
