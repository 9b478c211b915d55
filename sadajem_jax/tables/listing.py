"""The list of runs that the rows' numbers point to."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sadajem_jax.report import names
from sadajem_jax.tables import systems
from sadajem_jax.tables.entries import Entry, Member

HEADER = ("run", "workdir", "what", "seed", "checkpoints with numbers", "version")


class Listed(NamedTuple):
    """A run of the list.

    Attributes:
      number: as rows call it.
      workdir: its folder.
      cells: under HEADER, from "what" on.
    """

    number: int
    workdir: pathlib.Path
    cells: tuple[str, ...]


def runs(members: Iterable[Member]) -> list[Listed]:
    """Each run once, by its number."""
    by_number: dict[int, list[Member]] = {}
    for member in members:
        by_number.setdefault(member.number, []).append(member)
    return [_listed(number, own) for number, own in sorted(by_number.items())]


def _listed(number: int, members: Sequence[Member]) -> Listed:
    first = members[0]
    known = first.subject.num_sgld_steps
    what = systems.describe(first.settings, known)
    steps = dict.fromkeys(_step(member) for member in members if member.subject.step is not None)
    versions = dict.fromkeys(
        str(source["version"]) for source in first.run.provenance.values() if "version" in source
    )
    data = names.data_set(first.settings["data.name"])
    cells = (f"{what}; {data}", str(first.settings["seed"]), ", ".join(steps) or "none")
    return Listed(number, first.run.workdir, (*cells, ", ".join(versions) or "–"))


def _step(member: Member) -> str:
    return f"{member.subject.prefix}step {member.subject.step:,}"


def repeats(entries: Iterable[Entry]) -> list[str]:
    """A sentence for each run that is not counted, its seed being there already."""
    return list(dict.fromkeys(_repeat(e.members, again) for e in entries for again in e.repeats))


def _repeat(members: Sequence[Member], again: Member) -> str:
    seed = again.settings["seed"]
    first = next(m for m in members if m.settings["seed"] == seed)
    return (
        f"{again.run.workdir} is not counted: it has the settings and the seed ({seed}) of "
        f"{first.run.workdir}"
    )
