"""Counts the images of a long piece of work, and says now and then how far it is."""

from __future__ import annotations

import time

from sadajem_jax.console.words import duration

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts the images of a piece, and says every ten seconds how far it is.

    Attributes:
      images: scored so far, in all passes.
    """

    def __init__(self, name: str) -> None:
        self.name, self.images = name, 0
        self._done = 0  # of this pass
        self._said = self._now = time.monotonic()
        self._first: tuple[float, int] | None = None  # after the first batch all is compiled

    def __call__(self, done: int, total: int) -> None:
        """Takes how many rows of a pass are done, as `sharded.reporting` calls it."""
        self.images += done - self._done
        self._done = done if done < total else 0
        self._now = time.monotonic()
        if self._first is None:
            self._first = self._now, self.images
        if self._now - self._said >= SECONDS_BETWEEN_LINES:
            self._said = self._now
            print(f"{self.name}: {done:,} of {total:,}{self._outlook(total - done)}", flush=True)

    def _outlook(self, left: int) -> str:
        if self.rate is None:
            return ""
        return f", {self.rate:,.0f} images/s, {duration(left / self.rate)} left"

    @property
    def rate(self) -> float | None:
        """Images a second after compilation; None where one batch was all."""
        if self._first is None or self.images == self._first[1]:
            return None
        return (self.images - self._first[1]) / (self._now - self._first[0])
