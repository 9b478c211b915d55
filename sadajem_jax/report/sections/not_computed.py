"""What could not be done, and what was never asked for."""

from __future__ import annotations

from sadajem_jax.report.html import heading, text
from sadajem_jax.report.run import Run, part_of


def section(run: Run) -> str:
    """Each piece that failed with its reason, then the parts and pieces that nobody asked for."""
    reasons = {
        name: record["not_computed"]
        for name, record in run.pieces.items()
        if "not_computed" in record
    }
    there = {part_of(name, record) for name, record in run.pieces.items()} | run.pieces.keys()
    reasons |= {
        name: f"it was not asked for; --config.eval.only={name} does it"
        for name in run.parts
        if name not in there
    }
    items = [
        f"<li><b>{text(name)}</b>: not computed, because {text(why)}</li>"
        for name, why in reasons.items()
    ]
    return f"{heading('Not computed')}\n<ul>{''.join(items)}</ul>" if items else ""
