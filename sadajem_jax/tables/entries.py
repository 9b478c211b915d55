"""From folders to rows: models whose settings differ in the seed alone are one row."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from sadajem_jax.report import page
from sadajem_jax.report.run import MODELS, Run, Subject
from sadajem_jax.tables import systems
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.settings import Settings


class Member(NamedTuple):
    """A model of a run.

    Attributes:
      run: what its folder holds.
      settings: of the run, flat.
      subject: which of the run's models.
      number: of the run in the list of all, from 1.
    """

    run: Run
    settings: Settings
    subject: Subject
    number: int

    @property
    def is_main(self) -> bool:
        """Whether it is the last checkpoint, as far as the folder knows."""
        return not self.subject.prefix and not self.run.is_older(self.subject)


class Entry(NamedTuple):
    """A row of ours.

    Attributes:
      members: a model a seed.
      repeats: runs of a seed that is there already; they are not counted.
    """

    members: tuple[Member, ...]
    repeats: tuple[Member, ...] = ()

    @property
    def settings(self) -> Settings:
        """Of the first; the others' differ in the seed."""
        return self.members[0].settings

    @property
    def data(self) -> str:
        """The data set."""
        return str(self.settings["data.name"])

    @property
    def system(self) -> str:
        """The system's word."""
        return systems.system_of(self.settings)

    @property
    def num_sgld_steps(self) -> int | None:
        """K of its chains; None for a classifier alone, and where nobody knows."""
        known = self.members[0].subject.num_sgld_steps
        return known if systems.has_chain(self.settings) else None

    @property
    def is_main(self) -> bool:
        """Whether it is of last checkpoints."""
        return self.members[0].is_main

    @property
    def is_older(self) -> bool:
        """Whether the same models are known at a later step."""
        first = self.members[0]
        return first.run.is_older(first.subject)

    def name(self, *always: str) -> str:
        """What a reader calls it; `always` as in `systems.describe`."""
        known = self.members[0].subject.num_sgld_steps
        said = systems.describe(self.settings, known, always)
        return ", ".join(filter(None, [said, *_which(self.members)]))


def read(workdirs: Sequence[pathlib.Path]) -> list[Member]:
    """All models of all runs that anything is known of, each run's last checkpoint among them.

    Args:
      workdirs: folders of runs; one given twice counts once.

    Raises:
      UserError: if one is no folder of a run, or a file in it is damaged.
    """
    members: list[Member] = []
    unique = {path.resolve(): path for path in reversed(workdirs)}
    for number, path in enumerate(reversed(unique.values()), start=1):
        settings, run = run_settings.read(path), page.read(path)
        for subject in run.models or [run.subject("", {})]:
            members.append(Member(run, settings, subject, number))
        if not any(member.is_main for member in members if member.number == number):
            members.append(Member(run, settings, run.subject("", {}), number))
    return members


def grouped(members: Iterable[Member]) -> list[Entry]:
    """The rows: systems as the paper has them, what overrides less first, then as given."""
    groups: dict[Hashable, list[Member]] = {}
    for member in members:
        groups.setdefault(_sameness(member), []).append(member)
    return sorted(map(_entry, groups.values()), key=lambda row: systems.order(row.settings))


def _entry(group: Sequence[Member]) -> Entry:
    seeds: dict[int, Member] = {}
    for member in group:
        seeds.setdefault(member.settings["seed"], member)
    kept = tuple(seeds.values())
    return Entry(kept, tuple(member for member in group if member not in kept))


def _sameness(member: Member) -> Hashable:
    """What the models of a row have in common.

    The best on validation is one row whatever its steps: each seed has its own.
    """
    settings = run_settings.identity(member.settings)
    del settings["seed"]
    prefix, step, known = member.subject
    at = None if prefix == "best/" else step
    older = member.run.is_older(member.subject)
    return json.dumps(settings, sort_keys=True), prefix, at, known, older


def _which(members: Sequence[Member]) -> Iterator[str]:
    """Which checkpoint it is, where it is not the last one of a finished training."""
    first = members[0]
    prefix, step = first.subject.prefix, first.subject.step
    if prefix == "best/":
        yield MODELS[prefix]
        return
    yield MODELS.get(prefix, "")
    if first.run.is_older(first.subject):
        yield f"step {step:,}, older"
    elif step is None:
        yield "step unknown" if first.run.metrics else "no numbers yet"
    elif step != first.run.metrics.get("train/steps"):
        yield f"step {step:,}"
