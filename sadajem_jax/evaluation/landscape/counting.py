"""Portions of work that are added up and passed on as progress."""

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
