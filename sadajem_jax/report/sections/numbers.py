"""What stands in no table above, and for all numbers the checkpoint and settings behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sadajem_jax.report import html, ours
from sadajem_jax.report.html import text
from sadajem_jax.report.run import Run, prefix_of

OLD = "an older checkpoint than the newest evaluated"
BY_TRAINING = "written by the training at its end"
EXPLAINED = (
    "Each part's checkpoint and settings, and the numbers that stand in no table above. All of "
    "them, with all their digits: metrics.json beside this page's folder."
)


def section(run: Run) -> str:
    """A group for each source, with a table where it has more to tell; to be made last."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for name, subject in run.subjects.items():
        source = json.dumps(run.behind(name), sort_keys=True)
        groups.setdefault((source, run.is_older(subject)), []).append(name)
    blocks = [_group(run, members, is_older) for (_, is_older), members in groups.items()]
    if not blocks:
        return ""
    title = html.heading("Behind the numbers")
    return f"{title}\n<p>{text(EXPLAINED)}</p>\n" + "\n".join(blocks)


def _group(run: Run, members: list[str], is_older: bool) -> str:
    source = run.behind(members[0])
    old = f' <span class="old">{OLD}</span>' if is_older else ""
    rows = [("", (name, f"{run.metrics[name]:.6g}")) for name in members if name not in run.told]
    return (
        f"<h3>{text(_title(members[0], source))}</h3>\n"
        f'<p class="soft">{text(_behind(run, members[0], source))}{old}</p>\n'
        f"{html.table(('name', 'value'), rows) if rows else ''}"
    )


def _title(name: str, source: Mapping[str, Any]) -> str:
    """The part, and the model unless that is the last checkpoint's."""
    part, prefix = str(source.get("part", "training")), prefix_of(name)
    return part if part == "training" or part.startswith(prefix) else prefix + part


def _behind(run: Run, name: str, source: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{k} {v}" for k, v in sorted(source.get("settings", {}).items()))
    checkpoint = ours.source(run, name, source) if "checkpoint" in source else ""
    training = BY_TRAINING if source.get("part", "training") == "training" else ""
    return "; ".join(filter(None, [checkpoint, settings, training, *source.get("notes", [])]))
