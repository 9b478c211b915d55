"""How far a long piece of work is: a bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

import collections
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from tqdm import tqdm  # type: ignore[import-untyped]

from sadajem_jax.console.words import duration

SECONDS_TO_FIRST_LINE = 5.0
SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_DRAWINGS = 0.1
SECONDS_BETWEEN_MARKS, MARKS = 0.2, 64  # of the rate that the time left is told from

Advance = Callable[[int, int], None]
"""Takes (how much of a pass is done, how much there is); what works needs to know no more."""


class Progress:
    """Shows how far work is, pass by pass, and counts what was done.

    An `Advance`. A pass ends where all of it is done; the next call then begins another, whose
    counts go on from there: what is shown only rises. Without a unit counts would be taken for what
    the name speaks of, so that there is a percentage alone: of a pass, which never falls in it, and
    a further pass is numbered. As a context it also speaks while nothing is heard, as long as
    something compiles.

    Args:
      name: of the work.
      unit: what is counted, or "" where counts and a rate say nothing to a reader.
      done: how much of the first pass was done before.
      lines: whether there are lines where stderr is no terminal; False for work that says its own.

    Attributes:
      count: done so far, in all passes.
    """

    def __init__(
        self, name: str, *, unit: str = "images", done: int = 0, lines: bool = True
    ) -> None:
        self.name, self.unit, self.count, self._lines = name, unit, 0, lines
        self._before, self._done, self._total = 0, done, 0  # earlier passes; this one
        self._passes, self._share = 0, 0.0  # that are over; of this one, the most that was told
        self._start = self._now = time.monotonic()
        self._due = self._now + SECONDS_TO_FIRST_LINE
        self._first: tuple[float, int] | None = None  # after the first call all is compiled
        self._pace, self._drawn = Pace(), self._now
        self._over = threading.Event()
        quiet = not holds_a_bar(sys.stderr)
        form = {"bar_format": "{desc}", "leave": False, "dynamic_ncols": True}
        self._bar = tqdm(desc=name, initial=done, disable=quiet, **form)

    def __call__(self, done: int, total: int) -> None:
        """Takes how much of a pass is done, and how much there is."""
        self._now = time.monotonic()
        self.count += done - self._done
        self._first = self._first or (self._now, self.count)
        self._done, self._total = done, total
        self._share = max(self._share, done / max(total, 1))
        self._pace.mark(self._now, done)
        self._show(self._now)
        if done >= total:
            self._before, self._done, self._total = self._before + total, 0, 0
            self._passes, self._share = self._passes + 1, 0.0
            self._pace = Pace()

    def _show(self, now: float) -> None:
        """Moves the bar; where there is none, says a line if one is due."""
        if not self._bar.disable:
            is_over = self._done >= self._total > 0
            if is_over or now - self._drawn >= SECONDS_BETWEEN_DRAWINGS:
                self._drawn = now
                self._draw(now)
        elif self._lines and now >= self._due:
            self._due = now + SECONDS_BETWEEN_LINES
            print(f"{self._title}: {', '.join([*self._so_much, *self._stands(now)])}", flush=True)

    def _draw(self, now: float) -> None:
        there, said = bool(self._total), self._so_much if self.unit or not self._total else []
        form = f"{{desc}}: {self._percent:3}%|{{bar}}| " if there else "{desc}: "
        self._bar.bar_format = form + ", ".join([*said, *self._stands(now)])
        self._bar.desc = self._title
        self._bar.total = 1.0 if there else None
        self._bar.n = self._shown
        self._bar.refresh()

    @property
    def _title(self) -> str:
        """The name; without a unit also which pass it is, from the second on."""
        number = self._passes + bool(self._total)  # of the one that goes on, or of the last
        return self.name if self.unit or number < 2 else f"{self.name}, pass {number}"

    @property
    def _shown(self) -> float:
        """The share that is done: with a unit of all passes' counts, without one of this pass."""
        if self.unit:
            return (self._before + self._done) / max(self._before + self._total, 1)
        return self._share

    @property
    def _percent(self) -> int:
        """Rounded down: 100 only where all is done."""
        return int(100 * self._shown + 1e-9)

    @property
    def _so_much(self) -> list[str]:
        """What is done, if anything was: a count, or a percentage where there is no unit."""
        if not self._total:
            over = f"{self._before:,} done" if self.unit else "100%"
            return [over] if self._passes else []
        if not self.unit:
            return [f"{self._percent}%"]
        return [f"{self._before + self._done:,} of {self._before + self._total:,}"]

    def _stands(self, now: float) -> list[str]:
        """Rate and time left; how long it has been where there is no rate yet."""
        rate = self._pace.rate() if self._total else None
        if rate is None:
            return [f"{duration(now - self._start)} so far"]
        speed = [f"{rate:,.{0 if rate >= 10 else 1}f} {self.unit}/s"] if self.unit else []
        return [*speed, f"{duration((self._total - self._done) / rate)} left"]

    @property
    def rate(self) -> float | None:
        """Units a second after compilation, over all passes; None where one call was all."""
        if self._first is None or self.count == self._first[1] or self._now == self._first[0]:
            return None
        return (self.count - self._first[1]) / (self._now - self._first[0])

    def say(self, line: str) -> None:
        """Prints a line, above the bar where there is one."""
        tqdm.write(line)
        sys.stdout.flush()

    def close(self) -> None:
        """Clears the bar."""
        self._over.set()
        self._bar.close()

    def __enter__(self) -> Progress:
        threading.Thread(target=self._speak, daemon=True).start()
        return self

    def _speak(self) -> None:
        """Says where work stands that has not been heard of; moves the clock of a bar."""
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            self._show(time.monotonic())

    def __exit__(self, *_: Any) -> None:
        self.close()


def holds_a_bar(stream: TextIO) -> bool:
    """Whether it is a terminal that has a size: those of some containers have none, and no bar."""
    if not stream.isatty():
        return False
    try:
        return min(os.get_terminal_size(stream.fileno())) > 0
    except OSError:  # no file behind it that could be asked
        return True


class Pace:
    """The rate of a pass, from what was done of late: compilations lie at its beginning."""

    def __init__(self) -> None:
        self._marks: collections.deque[tuple[float, int]] = collections.deque(maxlen=MARKS)

    def mark(self, now: float, done: int) -> None:
        """At `now` so much is done."""
        if not self._marks or now - self._marks[-1][0] >= SECONDS_BETWEEN_MARKS:
            self._marks.append((now, done))

    def rate(self) -> float | None:
        """Units a second over the later half of the marks; None before there are three."""
        if len(self._marks) < 3:
            return None
        (start, before), (end, after) = self._marks[(len(self._marks) - 1) // 2], self._marks[-1]
        return (after - before) / (end - start) if after > before else None


class Joint:
    """The progress of several pieces of work, one after another, as that of one.

    Args:
      progress: is told; None: nobody is.
      sizes: what each takes, or takes at most, in the order in which they are done.
    """

    def __init__(self, progress: Advance | None, sizes: Mapping[str, float]) -> None:
        self._progress, self._sizes = progress, {k: max(1, round(n)) for k, n in sizes.items()}

    def of(self, name: str) -> Advance:
        """For one of them."""
        names, tell = list(self._sizes), self._progress
        before = sum(self._sizes[other] for other in names[: names.index(name)])
        size, everything = self._sizes[name], sum(self._sizes.values())

        def hear(done: int, total: int) -> None:
            if tell is not None:
                tell(before + size * done // total, everything)

        return hear
