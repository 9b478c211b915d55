"""How far a long piece of work is: a bar on a terminal, a line now and then where there is none."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from sadajem_jax.console.words import duration

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_LOOKS = 1.0

Advance = Callable[[int, int], None]
"""Takes (how much of a pass is done, how much there is); what works needs to know no more."""


class Progress:
    """Shows how far work is, pass by pass, and counts what was done.

    An `Advance`. A pass ends where all of it is done; the next call then begins another. As a
    context it also speaks while nothing is heard, as long as something compiles.

    Args:
      name: of the work.
      unit: what is counted, or "" where passes count different things and a rate says nothing.
      done: how much of the first pass was done before.
      lines: whether there are lines where stderr is no terminal; False for work that says its own.

    Attributes:
      count: done so far, in all passes.
    """

    def __init__(
        self, name: str, *, unit: str = "images", done: int = 0, lines: bool = True
    ) -> None:
        self.name, self.unit, self.count = name, unit, 0
        self._bar = tqdm(
            desc=name, initial=done, disable=not sys.stderr.isatty(), unit=unit, leave=False
        )
        self._lines = lines
        self._done = done  # of this pass
        self._said = self._now = time.monotonic()
        self._first: tuple[float, int] | None = None  # after the first call all is compiled
        self._begun: tuple[float, int] | None = None  # the same of this pass
        self._start, self._stands, self._over = self._now, "begun", threading.Event()

    def __call__(self, done: int, total: int) -> None:
        """Takes how much of a pass is done, and how much there is."""
        self._now = time.monotonic()
        self.count += done - self._done
        self._first = self._first or (self._now, self.count)
        self._begun = self._begun or (self._now, done)
        self._stands = f"{done:,} of {total:,}"
        self._draw(done, total)
        if self._lines and self._bar.disable and self._now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = self._now
            print(f"{self.name}: {self._stands}{self._outlook(done, total)}", flush=True)
        is_over = done >= total
        self._done, self._begun = (0, None) if is_over else (done, self._begun)

    def _draw(self, done: int, total: int) -> None:
        if self._bar.total != total or self._bar.n > done:
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)

    def _outlook(self, done: int, total: int) -> str:
        """The rate and the time left, of this pass alone: passes differ."""
        assert self._begun is not None
        at, before = self._begun
        if done == before or self._now == at:
            return ""
        rate = (done - before) / (self._now - at)
        speed = f", {rate:,.0f} {self.unit}/s" if self.unit else ""
        return f"{speed}, {duration((total - done) / rate)} left"

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
        if self._lines:
            threading.Thread(target=self._speak, daemon=True).start()
        return self

    def _speak(self) -> None:
        """Says where work stands that has not been heard of; moves the clock of a bar."""
        while not self._over.wait(SECONDS_BETWEEN_LOOKS):
            now = time.monotonic()
            if not self._bar.disable:
                self._bar.refresh()
            elif now - self._said >= SECONDS_BETWEEN_LINES:
                self._said = now
                print(f"{self.name}: {self._stands}, {duration(now - self._start)}", flush=True)

    def __exit__(self, *_: Any) -> None:
        self.close()
