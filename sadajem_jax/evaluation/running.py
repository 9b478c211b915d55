"""Runs the pieces of an evaluation one by one, each on the disk before the next begins."""

from __future__ import annotations

import enum
import logging
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sadajem_jax import __version__
from sadajem_jax.console import lost, processes
from sadajem_jax.console.errors import UserError, first_line
from sadajem_jax.console.lines import wrapped
from sadajem_jax.console.processes import Elsewhere, of_first
from sadajem_jax.console.progress import Progress
from sadajem_jax.console.words import duration
from sadajem_jax.evaluation.hardware import hardware
from sadajem_jax.evaluation.parts import Item, Piece, Size
from sadajem_jax.evaluation.predictions import Allowance
from sadajem_jax.inference.model import Model
from sadajem_jax.workdir.figure import Figure
from sadajem_jax.workdir.records import Records
from sadajem_jax.workdir.state_format import checksum

logger = logging.getLogger(__name__)
TIED = "\N{NO-BREAK SPACE}"  # where a line must not be cut


class Outcome(enum.IntEnum):
    """What became of a piece: computed, now or before; a reason that a user can mend; an error.

    Of processes that differ the highest counts.
    """

    THERE = 0
    NOT_COMPUTED = 1
    FAILED = 2


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """1 if a piece failed unexpectedly, 2 if none is there of those asked for, else 0."""
    if Outcome.FAILED in outcomes:
        return 1
    return 2 if outcomes and Outcome.THERE not in outcomes else 0


def prefix_for(checkpoint: str) -> str:
    """Of the names: other models' numbers stand beside the last one's.

    Examples:
      >>> prefix_for("last"), prefix_for("ema"), prefix_for("20")
      ('', 'ema/', 'step_20/')
    """
    if checkpoint == "last":
        return ""
    return f"step_{checkpoint}/" if checkpoint.isdecimal() else f"{checkpoint}/"


class Runner:
    """Runs pieces on one model and records them.

    A piece that cannot be done is recorded as "not computed, because ..."; the others go on.

    Args:
      workdir: W, where the records are.
      model: what is evaluated.
      force: whether what was done before is done again.
      allowance: which parts are begun.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        model: Model,
        *,
        force: bool,
        allowance: Allowance,
    ) -> None:
        self._records, self._force = Records(workdir), force
        self._allowance = allowance
        self._prefix = prefix_for(model.checkpoint)
        self._behind = {
            "checkpoint": model.checkpoint,
            "step": model.step,
            "checksum": checksum([model.variables, model.buffer]),
            "version": __version__,
        }
        self._num_sgld_steps = model.num_sgld_steps
        self._pieces: Sequence[Piece] = ()
        self._due: dict[str, bool] = {}

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        """Runs the pieces in order, but for those done before; prints what became of each."""
        self._pieces = pieces
        asked = [self._prefix + piece.name for piece in pieces]
        done = list({piece.part for piece in pieces})
        of_first(lambda: self._records.forget_failures(self._prefix, done, asked))
        return [self._do(piece) if self.is_due(piece) else self._leave(piece) for piece in pieces]

    def wants_gradient(self) -> bool:
        """Whether a piece that is to be done takes the gradient on the test set."""
        return any(piece.gradient and self.is_due(piece) for piece in self._pieces)

    def is_due(self, piece: Piece) -> bool:
        """Whether a piece is to be done: it was not before, on this model, set and settings."""
        if piece.name not in self._due:
            is_due = self._force or not of_first(lambda: self._was_done(piece))
            self._due[piece.name] = is_due
        return self._due[piece.name]

    def _due_of(self, part: str) -> list[Piece]:
        return [piece for piece in self._pieces if piece.part == part and self.is_due(piece)]

    def _was_done(self, piece: Piece) -> bool:
        name = self._prefix + piece.name
        images = self._records.piece(name).get("settings", {}).get("checksum")
        if not self._records.has(name, self._identity(piece, images)):
            return False
        try:
            return piece.checksum() == images
        except UserError as error:
            print(f"{name}: its images are not there to be compared ({error})", flush=True)
            return True  # the number stands, with the checksum of what it was taken on
        except Exception:  # whatever it is shows itself when the piece is done
            return False

    def _identity(self, piece: Piece, images: str | None) -> dict[str, Any]:
        content = {} if images is None else {"checksum": images}
        return self._behind | {"settings": {**piece.settings, **content}}

    def _leave(self, piece: Piece) -> Outcome:
        name = self._prefix + piece.name
        if piece.order is not None:  # sets may be asked for in another order
            fields = {"label": piece.label, "order": piece.order}
            of_first(lambda: self._records.refresh(name, fields))
        print(f"{name}: done before for this checkpoint and these settings", flush=True)
        return Outcome.THERE

    def _do(self, piece: Piece) -> Outcome:
        name, start, found = self._prefix + piece.name, time.time(), Found()
        with Progress(name, unit=piece.unit) as progress:
            outcome, reason = self._attempt(piece, found, progress)
        if reason is not None:
            found.numbers, found.figures = {}, []  # half a piece is none
        record = self._record(piece, found) | _effort(piece, progress, start)
        record |= {} if reason is None else {"not_computed": reason}
        numbers = {self._prefix + key: value for key, value in found.numbers.items()}
        of_first(lambda: self._records.write(name, record, numbers, found.figures))
        short = {key.removeprefix(f"{piece.name}/"): v for key, v in found.numbers.items()}
        print(_summary(name, record, short), flush=True)
        return outcome

    def _attempt(
        self, piece: Piece, found: Found, progress: Progress
    ) -> tuple[Outcome, str | None]:
        """Runs a piece: (what became of it in all processes, why it could not be done)."""
        try:
            self._fill(found, piece, progress)
            processes.meet()
            return Outcome.THERE, None
        except Elsewhere as error:
            return Outcome(error.how), str(error)
        except UserError as error:
            if not processes.is_first():  # which alone prints and records
                logger.warning("%s: %s", piece.name, error)
            return Outcome(processes.fail(Outcome.NOT_COMPUTED)), str(error)
        except Exception as error:  # one piece's fault is not the others'
            if processes.count() > 1 and lost.sign(error):
                raise
            logger.exception("%s failed", piece.name)
            return Outcome(processes.fail(Outcome.FAILED)), f"it failed: {first_line(error)}"

    def _fill(self, found: Found, piece: Piece, progress: Progress) -> None:
        """Takes a piece's items, if it is to be begun: asked of the first, as clocks differ."""
        found.checksum = piece.checksum()
        due = self._due_of(piece.part)
        of_first(lambda: self._allowance.refuse_long(piece.part, due))
        found.take(piece.run(progress))

    def _record(self, piece: Piece, found: Found) -> dict[str, Any]:
        """What a piece was of, and what it said of itself."""
        of_set = {} if piece.label is None else {"label": piece.label, "order": piece.order}
        return {
            "part": piece.part,
            "prefix": self._prefix,
            **of_set,
            **self._identity(piece, found.checksum),
            "num_sgld_steps": self._num_sgld_steps,
            "size": found.size and found.size._asdict(),
            "notes": found.notes,
        }


class Found:
    """What a piece has yielded so far."""

    def __init__(self) -> None:
        self.numbers: dict[str, float] = {}
        self.figures: list[Figure] = []
        self.notes: list[str] = []
        self.size: Size | None = None
        self.checksum: str | None = None

    def take(self, items: Iterator[Item]) -> None:
        """Takes all items; raises UserError for a number that is none."""
        for item in items:
            if isinstance(item, str):
                self.notes.append(item)
            elif isinstance(item, Figure):
                self.figures.append(item)
            elif isinstance(item, Size):
                self.size = item
            elif np.isfinite(item[1]):
                self.numbers[item[0]] = float(item[1])
            else:
                raise UserError(f"{item[0]} is {item[1]}")


def _effort(piece: Piece, progress: Progress, start: float) -> dict[str, Any]:
    """When and on what a piece was done, and how fast; rates are of images alone."""
    counts = piece.unit == "images"
    return {
        "hardware": hardware(),
        "seconds": time.time() - start,
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        "images": progress.count if counts else 0,
        "images_per_second": progress.rate if counts else None,
    }


def _summary(name: str, record: dict[str, Any], numbers: dict[str, float]) -> str:
    if "not_computed" in record:
        return wrapped(f"{name}: not computed, because {record['not_computed']}")
    values = ", ".join(f"{key}{TIED}{value:.4g}" for key, value in numbers.items())
    rate = record["images_per_second"]
    speed = f", {rate:,.0f} images/s" if rate else ""
    said = f"{name}: {values or 'drawn'} ({duration(record['seconds'])}{speed})"
    return "\n".join(
        [wrapped(said).replace(TIED, " "), *(wrapped(f"  {note}") for note in record["notes"])]
    )
