"""The pictures that the evaluation drew, each with the checkpoint behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sadajem_jax.report import html, names, ours
from sadajem_jax.report.run import Run


def section(run: Run) -> str:
    """All pictures whose files are there."""
    shown = [
        _figure(run, name, record, figure)
        for name, record in run.pieces.items()
        for figure in record.get("figures", [])
        if (run.workdir / figure["file"]).exists()
    ]
    figures = "\n".join(shown)
    return f'<h2>Figures</h2>\n<div class="figures">\n{figures}\n</div>' if shown else ""


def _figure(run: Run, name: str, record: Mapping[str, Any], figure: Mapping[str, str]) -> str:
    share = names.share(record.get("size"))
    of = names.data_set(record.get("label") or run.data)
    how_many = f" {share} official test images of {of}." if share else ""
    caption = f"{figure['caption']}{how_many} ({ours.source(run, name, record)})"
    return html.figure(run.workdir / figure["file"], figure["caption"], caption)
