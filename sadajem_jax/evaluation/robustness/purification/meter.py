"""How far an attack is: stage by stage, since images that break take no more."""

from __future__ import annotations

from sadajem_jax.console.progress import Advance


class Meter:
    """Counts work in stages of one size, a stage that needed less than it could being jumped over.

    Args:
      progress: is told (done, in all); None: nobody is.
      stages: how many there are.
      size: what a stage takes at most.
    """

    def __init__(self, progress: Advance | None, stages: int, size: float) -> None:
        self._progress, self._stages, self._size = progress, stages, max(1, round(size))
        self._stage = self._done = 0

    def did(self, work: int) -> None:
        """Some work of this stage is done."""
        end = (self._stage + 1) * self._size
        self._tell(min(self._done + work, end - 1))

    def stage_over(self) -> None:
        """What is left of this stage will not be needed."""
        self._stage += 1
        self._tell(self._stage * self._size)

    def _tell(self, done: int) -> None:
        self._done = done
        if self._progress:
            self._progress(done, self._stages * self._size)
