"""What the model draws: its chains' film, new images, its buffer, and the nearest trained on."""

from __future__ import annotations

from sadajem_jax.report import figures, html
from sadajem_jax.report.html import text
from sadajem_jax.report.run import Run

FIRST = tuple(f"samples_{name}" for name in ("film", "fresh", "conditional", "buffer", "nearest"))
EXPLAINED = (
    "New images are the ends of chains: small steps, SGLD, towards higher log p(x). The replay "
    "buffer holds the chains of the training, which went on with them from step to step."
)


def section(run: Run) -> str:
    """The pictures, and the notes."""
    shown = figures.of(run, "samples", FIRST)
    if not shown:
        return ""
    notes = "".join(f"<li>{text(note)}</li>" for note in run.notes("samples"))
    what = f"<p>{text(EXPLAINED)}</p>\n" if run.has_chains else ""
    return f"{html.heading('Samples')}\n{what}{shown}\n<ul class='soft'>{notes}</ul>"
