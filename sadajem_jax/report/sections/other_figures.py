"""Pictures of parts that have no section of their own, the learning curves among them."""

from __future__ import annotations

from sadajem_jax.report import figures, html
from sadajem_jax.report.run import Run, part_of

PLACED = ("samples", "quality", "ood", "calibration", "robustness", "landscape")


def section(run: Run) -> str:
    """What the parts drew, in their order."""
    parts = dict.fromkeys(part_of(name, record) for name, record in run.pieces.items())
    drawn = {part: figures.of(run, part) for part in parts if part not in PLACED}
    shown = {part: found for part, found in drawn.items() if found}
    title = html.heading("Learning curves" if list(shown) == ["curves"] else "Further figures")
    return "\n".join([title, *shown.values()]) if shown else ""
