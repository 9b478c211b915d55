"""Files in W/unfinished, where long attacks keep what they found until their piece is over."""

from __future__ import annotations

import pathlib

from sadajem_jax.console import processes
from sadajem_jax.evaluation.asked import Asked

CONTINUED = "It went on from where an evaluation was stopped; its seconds are those since."


def path(asked: Asked, name: str) -> pathlib.Path:
    """Of the file of an attack on this model."""
    return asked.workdir / "unfinished" / f"{name}_{asked.model.checkpoint}.npz"


def forget(kept: pathlib.Path) -> None:
    """Deletes a file, and the folder if it was the last; the first of several processes does."""
    if not processes.is_first():
        return
    kept.unlink(missing_ok=True)
    if kept.parent.exists() and not any(kept.parent.iterdir()):
        kept.parent.rmdir()
