"""What a person is told of long work: counts, rates, lines now and then."""

from __future__ import annotations

import io
import sys
import time

import pytest

from sadajem_jax.console import progress as progress_module
from sadajem_jax.console.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_images_of_all_passes_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images of every pass are counted; the rate leaves the first batch, which compiles, out."""
    clock = iter([0.0, 100.0, 101.0, 102.0, 103.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = Progress("ood/x")
    for done, total in ((10, 10), (20, 60), (40, 60), (60, 60)):
        progress(done, total)
    assert progress.count == 70 and progress.rate == 20
    assert capsys.readouterr().out == "ood/x: 10 of 10\n"


def test_long_work_speaks_every_five_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says how far it is and what is left of this pass; short work says nothing."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress("sampling", unit="")
    for seconds, done in ((1, 10), (10, 100), (14, 140), (31, 310)):
        now[0] = float(seconds)
        progress(done, 1000)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "sampling: 100 of 1,000, 1 min 30 s left",
        "sampling: 310 of 1,000, 1 min 09 s left",
    ]


def test_work_that_is_not_heard_of_still_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While something compiles, or a step is long, a line says where it stands; none at the end."""
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.03)
    with Progress("landscape") as progress:
        time.sleep(0.2)
        progress(1, 3)
        time.sleep(0.2)
    said = capsys.readouterr().out
    assert "landscape: begun, 0 s\n" in said and "landscape: 1 of 3, 0 s\n" in said
    time.sleep(0.1)
    assert capsys.readouterr().out == ""


def test_a_rate_of_another_pass_says_nothing_of_this_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a fast pass the time left of a slow one is the slow one's."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress("samples")
    for seconds, done, total in ((1, 500, 1000), (2, 1000, 1000), (3, 1, 100), (13, 2, 100)):
        now[0] = float(seconds)
        progress(done, total)
    assert "0 images/s, 16 min 20 s left" in capsys.readouterr().out


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
    assert "accuracy" in terminal.getvalue() and "20" in terminal.getvalue()
    assert capsys.readouterr().out == "a line\n"


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
