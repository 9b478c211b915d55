"""How a training went: the log-density gap at its end, its divergences and its time."""

from __future__ import annotations

from collections.abc import Callable

from sadajem_jax.tables import cells
from sadajem_jax.tables.cells import Found, Measure
from sadajem_jax.tables.entries import Member
from sadajem_jax.tables.table import Column
from sadajem_jax.workdir import files, restarts

LOG = "train_metrics.jsonl"
NOTES = (
    "Gap: log p(x) of data less that of the chains' ends, the mean of the training log's last "
    "line; of IGEBM it is of log p(x given y), each image and chain with its own y. Divergences: "
    "how often a training went back. Time: of training steps alone, from their number and the "
    "typical speed; it compares only what ran on the same machine.",
)


def gap(member: Member) -> Found | str:
    """The last line's log-density gap, nats."""
    rows = files.read_json_lines(member.run.workdir / LOG)
    value = rows[-1].get("log_density_gap") if rows else None
    if value is None:
        return ""
    return Found(float(value), f"{value:.4g} ({LOG}, step {rows[-1]['step']:,})")


def divergences(member: Member) -> Found | str:
    """How often the training went back to an earlier checkpoint."""
    if not (member.run.workdir / LOG).exists():
        return ""
    known = restarts.read(member.run.workdir, member.settings["sgld.num_steps"])
    return Found(known.restarts, f"{known.restarts} (restarts.json)")


def minutes(member: Member) -> Found | str:
    """Of all steps at the median speed of the log."""
    metrics = member.run.metrics
    steps, speed = metrics.get("train/steps"), metrics.get("train/images_per_second")
    if not steps or not speed:
        return ""
    value = steps * member.settings["train.batch_size_label"] / speed / 60
    return Found(value, f"{value:.4g} min ({steps:,} steps at {speed:,.0f} labelled images/s)")


def _of_main(measure: Measure) -> Measure:
    """Only of the last checkpoint: it is the training's own."""
    return lambda member: measure(member) if member.is_main else ""


def _column(head: str, measure: Measure, form: str) -> Column:
    own: Callable[[Member], Found | str] = _of_main(measure)
    return head, lambda entry: cells.cell(entry, own, form)


COLUMNS: tuple[Column, ...] = (
    _column("gap, nats", gap, "{:+.2f}"),
    _column("divergences", divergences, "{:.2g}"),
    _column("minutes", minutes, "{:.1f}"),
)
