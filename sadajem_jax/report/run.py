"""What W holds, and which model stands behind each of its numbers.

Numbers of one W may be of several models and steps: of the last checkpoint, of the best on
validation, of averaged weights, of an older step asked for by number, and of what was evaluated
before the training went on. A row of the page is of one `Subject`, so that none are mixed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from sadajem_jax.report.names import DEFAULT_SYSTEM
from sadajem_jax.report.training import Training

MODELS = {"": "", "best/": "best on validation", "ema/": "averaged weights"}
_PREFIX = re.compile(r"(best|ema|step_\d+)/")


class Subject(NamedTuple):
    """The model behind a number.

    Attributes:
      prefix: of its names: "" for the last checkpoint, "best/", "ema/", "step_20/".
      step: None where nothing says it.
      num_sgld_steps: its K; None where nothing says it.
    """

    prefix: str
    step: int | None
    num_sgld_steps: int | None


def prefix_of(name: str) -> str:
    """The model's part of a metric's or a piece's name.

    Examples:
      >>> prefix_of("best/ood/svhn_cropped"), prefix_of("step_20/test/nll"), prefix_of("test/nll")
      ('best/', 'step_20/', '')
    """
    found = _PREFIX.match(name)
    return found[0] if found else ""


@dataclasses.dataclass(frozen=True)
class Run:
    """What W holds. A record of an older version lacks fields: what they say is then unknown.

    Attributes:
      workdir: W.
      config: of the run, a nested dict.
      metrics: {name: value}.
      provenance: {name: what is behind it}.
      pieces: {piece: its record}.
      parts: the names of all parts there are, in order.
      training: how far it is.
      told: metrics that the page has shown so far, so that it can end with those it has not.
    """

    workdir: pathlib.Path
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    provenance: Mapping[str, Mapping[str, Any]]
    pieces: Mapping[str, Mapping[str, Any]]
    parts: tuple[str, ...]
    training: Training = dataclasses.field(default_factory=Training)
    told: set[str] = dataclasses.field(default_factory=set, compare=False)

    @property
    def data(self) -> str:
        """The data set's name; "" where there is no config."""
        return str(self.config.get("data", {}).get("name", ""))

    @property
    def system(self) -> str:
        """The system's word; a run of before there were any is SADA-JEM's."""
        return str(self.config.get("system", DEFAULT_SYSTEM))

    @property
    def has_px(self) -> bool:
        """Whether p(x) was trained: a classifier alone runs no chain, whatever K its config has."""
        return bool(self.config.get("objective", {}).get("px_weight", 1.0) > 0)

    @property
    def has_chains(self) -> bool:
        """Whether the training drew negative samples: else the buffer holds its first starts."""
        return self.has_px and self.config.get("sgld", {}).get("num_steps", 1) > 0

    def without_scores(self, *names: str) -> Run:
        """The same without these metrics, whichever model's they are."""
        kept = {k: v for k, v in self.metrics.items() if k.removeprefix(prefix_of(k)) not in names}
        return dataclasses.replace(self, metrics=kept)

    @functools.cached_property
    def subjects(self) -> dict[str, Subject]:
        """{metric: the model behind it}."""
        return {name: self.subject(name, self._source(name)) for name in self.metrics}

    def subject(self, name: str, source: Mapping[str, Any]) -> Subject:
        """The model behind a piece or a metric, from its record or provenance."""
        prefix, step = prefix_of(name), source.get("step")
        own = source.get("num_sgld_steps")
        known = self._recorded_k.get((prefix, step)) if own is None else own
        if known is None:
            known = self.config.get("sgld", {}).get("num_steps")
        return Subject(prefix, step, known)

    def _source(self, name: str) -> Mapping[str, Any]:
        """Where there is no provenance the training wrote the number, with its steps beside it."""
        by_training = {"step": self.metrics.get(f"{prefix_of(name)}train/steps")}
        return self.provenance.get(name) or by_training

    @functools.cached_property
    def _recorded_k(self) -> dict[tuple[str, int | None], int]:
        """{(prefix, step): K}: a training may have doubled the config's."""
        return {
            (prefix_of(name), source.get("step")): source["num_sgld_steps"]
            for name, source in [*self.pieces.items(), *self.provenance.items()]
            if source.get("num_sgld_steps") is not None
        }

    @functools.cached_property
    def models(self) -> list[Subject]:
        """All that anything is known of: the last checkpoint's first, newest first."""
        of_pieces = (self.subject(name, record) for name, record in self.pieces.items())
        return sorted({*self.subjects.values(), *of_pieces}, key=_order)

    @functools.cached_property
    def newest(self) -> dict[str, int]:
        """{prefix: the last step that anything is known of}."""
        found: dict[str, int] = {}
        for subject in self.models:
            if subject.step is not None:
                found[subject.prefix] = max(subject.step, found.get(subject.prefix, 0))
        return found

    def is_older(self, subject: Subject) -> bool:
        """Whether the same model is known at a later step."""
        return subject.step is not None and subject.step < self.newest.get(subject.prefix, 0)

    def with_numbers(self, *starts: str) -> list[Subject]:
        """Those of `models` with a number whose name, less the prefix, starts so."""
        found = {
            subject
            for name, subject in self.subjects.items()
            if name.removeprefix(subject.prefix).startswith(starts)
        }
        return [subject for subject in self.models if subject in found]

    def name_of(self, subject: Subject, *names: str) -> str | None:
        """The first of these metrics that this very model has, as metrics.json calls it."""
        keys = (subject.prefix + name for name in names)
        return next((key for key in keys if self.subjects.get(key) == subject), None)

    def value(self, subject: Subject, *names: str) -> float | None:
        """The first of these metrics that this very model has."""
        key = self.name_of(subject, *names)
        return None if key is None else self.tell(key)

    def tell(self, name: str) -> float:
        """A metric's value, which the page then has shown."""
        self.told.add(name)
        return self.metrics[name]

    def ood_labels(self, prefix: str | None = None) -> list[str]:
        """The sets with numbers of this model (None: of any), in the order asked for."""
        records = [r for r in self.done("ood") if r.get("order") is not None]
        order = {record.get("label"): record["order"] for record in records}
        found = [
            name.removeprefix(subject.prefix).split("/")[1]
            for name, subject in self.subjects.items()
            if name.removeprefix(subject.prefix).startswith("ood/")
            and prefix in (None, subject.prefix)
        ]
        # Stable: sets whose records say no place keep that of their numbers, after the others.
        return sorted(dict.fromkeys(found), key=lambda label: order.get(label, math.inf))

    def behind(self, key: str | None) -> Mapping[str, Any]:
        """What is recorded behind a metric; {} where nothing is."""
        return self.provenance.get(key or "") or {}

    def done(self, part: str) -> list[Mapping[str, Any]]:
        """The records of a part's pieces, of all models, less those that were not computed."""
        pieces = self.pieces.items()
        return [r for key, r in pieces if part_of(key, r) == part and "not_computed" not in r]

    def notes(self, part: str) -> list[str]:
        """How to read the numbers of a part, each note once."""
        return list(dict.fromkeys(note for r in self.done(part) for note in r.get("notes", [])))


def part_of(name: str, record: Mapping[str, Any]) -> str:
    """A piece's part: as recorded, or the first word of its name."""
    return str(record.get("part") or name.removeprefix(prefix_of(name)).split("/")[0])


def _order(subject: Subject) -> tuple[Any, ...]:
    prefix = subject.prefix
    known = list(MODELS).index(prefix) if prefix in MODELS else len(MODELS)
    newest_first = 1 if subject.step is None else -subject.step
    # Longer numbers are larger: step_20/ stands before step_100/.
    return known, len(prefix), prefix, newest_first, subject.num_sgld_steps or 0
