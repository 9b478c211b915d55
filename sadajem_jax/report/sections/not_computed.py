"""What could not be done, and what was never asked for."""

from __future__ import annotations

from sadajem_jax.report.html import heading, text
from sadajem_jax.report.run import Run, part_of

NOT_ASKED = "it was not asked for; --config.eval.only with its name does it"


def section(run: Run) -> str:
    """Each reason with the pieces that failed for it, then the parts and pieces not asked for."""
    reasons = {
        name: record["not_computed"]
        for name, record in run.pieces.items()
        if "not_computed" in record
    }
    there = {part_of(name, record) for name, record in run.pieces.items()} | run.pieces.keys()
    reasons |= {name: NOT_ASKED for name in run.parts if name not in there}
    named = {
        why: ", ".join(f"<b>{text(name)}</b>" for name, reason in reasons.items() if reason == why)
        for why in reasons.values()
    }
    items = [f"<li>{who}: not computed, because {text(why)}</li>" for why, who in named.items()]
    return f"{heading('Not computed')}\n<ul>{''.join(items)}</ul>" if items else ""
