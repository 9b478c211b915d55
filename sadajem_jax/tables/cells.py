"""A number of a row: mean and standard deviation over its seeds, and where each comes from."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sadajem_jax.report import names
from sadajem_jax.tables.entries import Entry, Member

MISSING = "–"
INDIVIDUAL = ("checksum", "seed")  # settings that differ between seeds by their nature


class Cell(NamedTuple):
    """What stands in a table's field.

    Attributes:
      text: the number, "96.0 ± 0.1" of several, or a dash.
      sources: a line for each run: its number and where it comes from; why not, for a dash.
      notes: what a reader must know of it.
    """

    text: str
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Found(NamedTuple):
    """A number of one run.

    Attributes:
      value: in the table's unit.
      source: where it comes from.
      measured: what it is a number of; where it differs, numbers are not of one kind.
      part: how much of the official test images there were, "" for all.
    """

    value: float
    source: str
    measured: str = ""
    part: str = ""


Measure = Callable[[Member], Found | str]
"""A run's number, or why there is none ("" where nothing says)."""


def cell(entry: Entry, measure: Measure, form: str) -> Cell:
    """Mean ± standard deviation (with n - 1) over the seeds.

    Args:
      entry: the row.
      measure: what of each run.
      form: of the numbers, "{:.2f}".
    """
    answers = [(member, measure(member)) for member in entry.members]
    found = [answer for _, answer in answers if isinstance(answer, Found)]
    lines = tuple(line for line in map(_line, answers) if line)
    if not found:
        return Cell(MISSING, lines)
    return Cell(spread([f.value for f in found], form), lines, tuple(_notes(entry, found)))


def nothing(_: Entry) -> Cell:
    """An empty field."""
    return Cell("")


def spread(values: Sequence[float], form: str) -> str:
    """One number as it is, several as mean ± standard deviation.

    Examples:
      >>> spread([1.5], "{:.1f}"), spread([1.0, 2.0, 3.0], "{:.1f}")
      ('1.5', '2.0 ± 1.0')
    """
    mean = form.format(statistics.fmean(values))
    if len(values) == 1:
        return mean
    return f"{mean} ± {form.replace('+', '').format(statistics.stdev(values))}"


def metric(*keys: str, scale: float = 1.0) -> Measure:
    """The first of these metrics that a model has, times `scale`."""

    def measure(member: Member) -> Found | str:
        run, subject = member.run, member.subject
        name = run.name_of(subject, *keys)
        if name is None:
            return _reason(member, keys)
        behind, value = run.behind(name), scale * run.metrics[name]
        said = ", ".join([name, *_behind(behind, subject.step)])
        key = json.dumps([name.removeprefix(subject.prefix), _settings(behind)], sort_keys=True)
        return Found(value, f"{value:.6g} ({said})", key, names.share(behind.get("size")))

    return measure


def _behind(behind: Mapping[str, Any], step: int | None) -> list[str]:
    at = "step unknown" if step is None else f"step {step:,}"
    size = (behind.get("size") or {}).get("images")
    return [f"checkpoint {behind.get('checkpoint', 'unknown')}", at] + (
        [f"{size:,} images"] if size else []
    )


def _settings(behind: Mapping[str, Any]) -> dict[str, Any]:
    """What it was measured with, less what differs by its nature; and on how many images."""
    settings = behind.get("settings", {})
    kept = {name: value for name, value in settings.items() if name not in INDIVIDUAL}
    return kept | {"images": (behind.get("size") or {}).get("images")}


def _reason(member: Member, keys: Sequence[str]) -> str:
    """Why the piece of a metric was not computed, where its record says so."""
    prefix = member.subject.prefix
    for piece, record in member.run.pieces.items():
        own = piece.removeprefix(prefix)
        if "not_computed" in record and any(key.startswith(f"{own}/") for key in keys):
            return f"not computed, because {record['not_computed']}"
    return ""


def _line(answer: tuple[Member, Found | str]) -> str:
    member, found = answer
    text = found.source if isinstance(found, Found) else found
    return f"{member.run.workdir}: {text}" if text else ""


def _notes(entry: Entry, found: Sequence[Found]) -> list[str]:
    notes = []
    if len(found) < len(entry.members):
        notes.append(f"of {len(found)} of the {len(entry.members)} runs")
    if len({f.measured for f in found}) > 1:
        notes.append("measured differently from run to run: settings or images are not the same")
    parts = dict.fromkeys(f.part for f in found if f.part)
    return notes + [f"of {part} official images" for part in parts]
