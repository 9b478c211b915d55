"""What a person is told of long work: counts, rates, lines now and then."""

from __future__ import annotations

import io
import os
import sys
import termios
import time
from typing import Any

import pytest

from sadajem_jax.console import progress as progress_module
from sadajem_jax.console.progress import Joint, Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of now, to be set."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def heard(
    progress: Progress, clock: list[float], calls: list[tuple[float, int, int]], capsys: Any
) -> list[str]:
    """What is printed at (seconds, done, total)."""
    for clock[0], done, total in calls:
        progress(done, total)
    return list(capsys.readouterr().out.splitlines())


def test_images_of_all_passes_are_counted(clock: list[float], capsys: Any) -> None:
    """Images of every pass are counted; the rate leaves the first batch, which compiles, out."""
    progress = Progress("ood/x")
    calls = [(100.0, 10, 10), (101.0, 20, 60), (102.0, 40, 60), (103.0, 60, 60)]
    assert heard(progress, clock, calls, capsys) == ["ood/x: 10 of 10, 1 min 40 s so far"]
    assert progress.count == 70 and progress.rate == 20


def test_long_work_speaks_after_five_seconds_then_every_half_minute(
    clock: list[float], capsys: Any
) -> None:
    """It says how far it is and what is left; short work says nothing."""
    calls = [(float(s), 10 * s, 1000) for s in range(1, 72)]
    assert heard(Progress("sampling", unit="rows"), clock, calls, capsys) == [
        "sampling: 50 of 1,000, 10 rows/s, 1 min 35 s left",
        "sampling: 350 of 1,000, 10 rows/s, 1 min 05 s left",
        "sampling: 650 of 1,000, 10 rows/s, 35 s left",
    ]


def test_the_time_left_leaves_compilations_out(clock: list[float], capsys: Any) -> None:
    """Minutes in the first calls, each of which compiled a program, are not taken for the pace."""
    calls = [(60.0, 10, 1000), (120.0, 20, 1000)]
    calls += [(120.0 + s, 20 + 10 * s, 1000) for s in range(1, 31)]
    lines = heard(Progress("sampling", unit=""), clock, calls, capsys)
    assert lines[0] == "sampling: 1%, 1 min 00 s so far"
    assert lines[-1] == "sampling: 32%, 1 min 08 s left"


def test_counts_only_rise(clock: list[float], capsys: Any) -> None:
    """A further pass goes on from the one before, its time left from its own pace."""
    calls = [(1.0, 500, 1000), (2.0, 1000, 1000), (3.0, 1, 100), (13.0, 2, 100)]
    calls += [(23.0 + 10 * n, 3 + n, 100) for n in range(4)]
    lines = heard(Progress("samples"), clock, calls, capsys)
    assert lines == [
        "samples: 1,002 of 1,100, 13 s so far",
        "samples: 1,005 of 1,100, 0.1 images/s, 15 min 50 s left",
    ]


def test_without_a_unit_a_share_is_told_that_never_falls(clock: list[float], capsys: Any) -> None:
    """No counts, which would be taken for images; a total that grows takes nothing back."""
    calls = [(10.0, 299, 1000), (50.0, 300, 2000), (90.0, 1999, 2000)]
    assert heard(Progress("sampling 200 images", unit=""), clock, calls, capsys) == [
        "sampling 200 images: 29%, 10 s so far",
        "sampling 200 images: 29%, 50 s so far",
        "sampling 200 images: 99%, 0 s left",
    ]


def test_a_further_pass_without_a_unit_is_said_to_be_one(clock: list[float], capsys: Any) -> None:
    """What it counts is not what the first did: the share is its own, and it has its number."""
    progress = Progress("samples", unit="")
    assert heard(progress, clock, [(1.0, 1000, 1000), (10.0, 1, 4)], capsys) == [
        "samples, pass 2: 25%, 10 s so far"
    ]
    heard(progress, clock, [(11.0, 4, 4)], capsys)
    progress._show(60.0)  # what the clock of a context does
    assert capsys.readouterr().out == "samples, pass 2: 100%, 1 min 00 s so far\n"


def test_several_works_are_one(clock: list[float], capsys: Any) -> None:
    """Works of known sizes rise as one from 0 to their sum, whatever each of them counts."""
    told: list[tuple[int, int]] = []
    joint = Joint(lambda *at: told.append(at), {"a": 10, "b": 30})
    for name, done, total in (("a", 1, 2), ("a", 2, 2), ("b", 100, 300), ("b", 300, 300)):
        joint.of(name)(done, total)
    assert told == [(5, 40), (10, 40), (20, 40), (40, 40)]


def test_work_that_is_not_heard_of_still_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While something compiles, or a step is long, a line says where it stands; none at the end."""
    for name in ("LOOKS", "LINES"):
        monkeypatch.setattr(progress_module, f"SECONDS_BETWEEN_{name}", 0.01)
    monkeypatch.setattr(progress_module, "SECONDS_TO_FIRST_LINE", 0.01)
    with Progress("landscape") as progress:
        time.sleep(0.2)
        progress(1, 3)
        time.sleep(0.2)
    said = capsys.readouterr().out
    assert "landscape: 0 s so far\n" in said and "landscape: 1 of 3, 0 s so far\n" in said
    time.sleep(0.1)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar_and_no_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the bar stands on stderr and is gone at the end; nothing is printed."""
    terminal, now = Terminal(), [0.0]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Progress("accuracy") as progress:
        for done in (10, 20):
            now[0] += 60
            progress(done, 20)
        progress.say("a line")
    assert "100%" in terminal.getvalue() and "20 of 20, 2 min 00 s so far" in terminal.getvalue()
    assert capsys.readouterr().out == "a line\n"


def test_a_bar_without_a_unit_has_no_counts(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    """Beside the bar's percentage stands the time alone."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress("sampling", unit="")
    for clock[0], done in ((60.0, 7), (120.0, 10)):
        progress(done, 10)
    drawn = terminal.getvalue()
    assert "sampling:  70%|" in drawn and "| 1 min 00 s so far" in drawn
    assert "100%" in drawn and "of 10" not in drawn
    progress.close()


def test_a_terminal_without_a_size_gets_lines(
    monkeypatch: pytest.MonkeyPatch, clock: list[float], capsys: Any
) -> None:
    """Some containers' terminals are of 0 rows, where tqdm draws nothing: lines take its place."""
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb"), os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        termios.tcsetwinsize(terminal.fileno(), (0, 100))
        assert heard(Progress("ood/x"), clock, [(60.0, 1, 9)], capsys) == [
            "ood/x: 1 of 9, 1 min 00 s so far"
        ]
        termios.tcsetwinsize(terminal.fileno(), (24, 80))
        assert progress_module.holds_a_bar(terminal)


def test_work_that_says_its_own_lines_gets_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With lines=False a log file gets only what `say` is given, and work may go on midway."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress("training", unit="steps", done=40, lines=False)
    for step in (50, 60):
        now[0] += 60
        progress(step, 100)
    assert progress.count == 20 and capsys.readouterr().out == ""
