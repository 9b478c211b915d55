"""The next feed is made while the blocks before it run, so that no accelerator waits for it.

In a thread of its own: JAX's call of a loop whose length is traced comes back, on a GPU, only when
the loop has ended, since XLA reads its condition on the host after each turn. The thread that calls
can make nothing meanwhile; Python's lock is free.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from sadajem_jax.step_inputs import Feed

Make = Callable[[int], tuple[Feed, int]]
"""step -> (feed, end), as of `Feeder.feed`; where processes share a run, it must send nothing."""


class Window(NamedTuple):
    """A feed, good for the steps from `first` up to (not including) `end`."""

    feed: Feed
    first: int
    end: int


class Feeds:
    """The feeds of a run, in the order of its steps.

    Args:
      make: makes one.
      total_steps: none is made ahead for this step and later ones.
      ahead: whether the next one is begun as soon as one is taken; else it is made when needed.
    """

    def __init__(self, make: Make, total_steps: int, *, ahead: bool) -> None:
        self._make, self._total_steps = make, total_steps
        self._thread = ThreadPoolExecutor(1, "feeds") if ahead else None
        self._now: Window | None = None
        self._next: tuple[int, Future[tuple[Feed, int]]] | None = None

    def at(self, step: int) -> tuple[Feed, int]:
        """(feed, end): as of `Feeder.feed`; raises what making it raised."""
        if self._now is None or not self._now.first <= step < self._now.end:
            feed, end = self._made(step)
            self._now = Window(feed, step, end)
            self._begin(end)
        return self._now.feed, self._now.end

    def _made(self, step: int) -> tuple[Feed, int]:
        begun, self._next = self._next, None
        if begun is not None and begun[0] == step:
            return begun[1].result()
        return self._make(step)

    def _begin(self, step: int) -> None:
        if self._thread is not None and step < self._total_steps:
            self._next = step, self._thread.submit(self._make, step)
