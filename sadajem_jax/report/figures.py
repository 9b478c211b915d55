"""The pictures that the evaluation of a part drew, each with the checkpoint behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sadajem_jax.report import html, names, ours
from sadajem_jax.report.run import Run, part_of


def of(run: Run, part: str, first: Sequence[str] = ()) -> str:
    """All pictures of a part whose files are there, "" if there are none.

    Args:
      run: what W holds.
      part: of the evaluation.
      first: names of the figures that come before the others, in order.
    """
    order = {name: place for place, name in enumerate(first)}
    found = [
        (order.get(figure["name"], len(order)), _figure(run, name, record, figure))
        for name, record in run.pieces.items()
        for figure in record.get("figures", [])
        if part_of(name, record) == part and (run.workdir / figure["file"]).exists()
    ]
    shown = "\n".join(figure for _, figure in sorted(found, key=lambda item: item[0]))
    return f'<div class="figures">\n{shown}\n</div>' if shown else ""


def _figure(run: Run, name: str, record: Mapping[str, Any], figure: Mapping[str, str]) -> str:
    share = names.share(record.get("size"))
    of = names.data_set(record.get("label") or run.data)
    how_many = f" {share} official test images of {of}." if share else ""
    caption = f"{figure['caption']}{how_many} ({ours.source(run, name, record)})"
    return html.figure(run.workdir / figure["file"], figure["caption"], caption)
