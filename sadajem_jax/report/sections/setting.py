"""Hardware and times of each piece, and the whole config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sadajem_jax import __version__
from sadajem_jax.console.words import duration
from sadajem_jax.report import html, ours
from sadajem_jax.report.html import cell, text
from sadajem_jax.report.run import Run
from sadajem_jax.workdir.settings import flat

HEADER = ("piece", "checkpoint", "time", "images/s", "hardware", "finished")


def section(run: Run) -> str:
    """What one needs to do it again."""
    done = {name: record for name, record in run.pieces.items() if "not_computed" not in record}
    rows = [_row(run, name, record) for name, record in done.items()]
    fields = "".join(
        f"<div><code>{text(name)}</code><code>{text(value) or '&quot;&quot;'}</code></div>"
        for name, value in flat(run.config).items()
    )
    return (
        f"{_times(rows)}"
        f"{html.heading('Config')}\n"
        f'<div class="columns">{fields}</div>\n'
        f'<p class="soft">sadajem-jax {__version__}; all numbers in float32 at the highest matrix '
        "precision, batch norm in evaluation mode unless a caption says otherwise.</p>"
    )


def _times(rows: list[html.Row]) -> str:
    table = html.table(HEADER, rows)
    return f"{html.heading('Times and hardware')}\n{table}\n" if rows else ""


def _row(run: Run, name: str, record: Mapping[str, Any]) -> html.Row:
    cells = (
        name,
        ours.source(run, name, record),
        duration(record["seconds"]) if "seconds" in record else "–",
        cell(record.get("images_per_second"), "{:,.0f}"),
        record.get("hardware", "–"),
        record.get("finished", "–"),
    )
    return "older" if run.is_older(run.subject(name, record)) else "", cells
