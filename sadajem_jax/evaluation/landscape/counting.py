"""Portions of work that are added up and passed on as progress, as one that only rises."""

from __future__ import annotations

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.landscape.batches import Heard


def counter(progress: Advance | None, total: int) -> Heard | None:
    """Hears of portions, and tells `progress` how much of all is done."""
    if progress is None:
        return None
    done = 0

    def heard(portion: int) -> None:
        nonlocal done
        done += portion
        progress(done, total)

    return heard


def share(progress: Advance, number: int, count: int) -> Advance:
    """For one of `count` pieces of work of the same size, done in order: says how far all are.

    Examples:
      >>> share(print, 1, 4)(30, 100)
      130 400
    """
    return lambda done, total: progress(number * total + done, count * total)
