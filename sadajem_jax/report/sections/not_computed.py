"""What could not be done, and what was never asked for."""

from __future__ import annotations

from sadajem_jax.report.html import heading, text
from sadajem_jax.report.run import Run, part_of


def section(run: Run) -> str:
    """Each piece that failed with its reason, then the parts that nobody asked for."""
    reasons = {
        name: record["not_computed"]
        for name, record in run.pieces.items()
        if "not_computed" in record
    }
    there = {part_of(name, record) for name, record in run.pieces.items()}
    reasons |= {part: "it was not asked for" for part in run.parts if part not in there}
    items = [
        f"<li><b>{text(name)}</b>: not computed, because {text(why)}</li>"
        for name, why in reasons.items()
    ]
    return f"{heading('Not computed')}\n<ul>{''.join(items)}</ul>" if items else ""
