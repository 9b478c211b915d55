"""What an evaluation leaves in W: the numbers, where each comes from, and what was done.

W/metrics.json               {name: value}, flat
W/metrics_provenance.json    {name: checkpoint, step and settings behind it}
W/evaluation.json            {piece: what was done, when, how fast; or why it could not be},
                             and under "parts" the names of all parts there are, and of pieces
                             that were left out
W/figures/                   PNG or GIF, and beside each the arrays that it shows, as .npz
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.workdir import files
from sadajem_jax.workdir.figure import Figure

PARTS = "parts"  # the one entry of W/evaluation.json that is no piece
# What a number's provenance repeats of its piece's record.
BEHIND = (
    *("checkpoint", "step", "checksum", "settings", "notes", "version"),
    *("num_sgld_steps", "size", "prefix"),
)


class Records:
    """The numbers of W, where each comes from, and what was done.

    Args:
      workdir: W.
    """

    def __init__(self, workdir: pathlib.Path) -> None:
        self.workdir = workdir
        self.metrics = workdir / "metrics.json"
        self.provenance = workdir / "metrics_provenance.json"
        self.pieces = workdir / "evaluation.json"

    def piece(self, name: str) -> dict[str, Any]:
        """The record of a piece; {} where there is none."""
        return read_pieces(self.workdir).get(name, {})

    def has(self, name: str, record: dict[str, Any]) -> bool:
        """Whether a piece was done as `record` says, and all that it left is still there."""
        old = self.piece(name)
        if not old or "not_computed" in old or any(old.get(k) != record[k] for k in record):
            return False
        there, whence = read_json(self.metrics), read_json(self.provenance)
        shown = all((self.workdir / figure["file"]).exists() for figure in old["figures"])
        mine = all(whence.get(key, {}).get("part") == name for key in old["metrics"])
        return shown and mine and all(key in there for key in old["metrics"])

    def write(
        self, name: str, record: dict[str, Any], numbers: dict[str, float], figures: list[Figure]
    ) -> None:
        """Replaces all that an earlier run of the piece left: no old number survives a failure."""
        source = {"part": name, **{key: record[key] for key in BEHIND if key in record}}
        with _locked(self.workdir):
            old = read_json(self.pieces)
            stale = old.get(name, {}).get("metrics", [])
            record["metrics"] = list(numbers)
            prefix = record.get("prefix", "").replace("/", "_")
            record["figures"] = [self._write_figure(prefix, figure) for figure in figures]
            _update(self.metrics, numbers, stale)
            _update(self.provenance, dict.fromkeys(numbers, source), stale)
            files.write_json_atomically(self.pieces, old | {name: record})

    def forget_failures(self, prefix: str, parts: Sequence[str], asked: Sequence[str]) -> None:
        """Drops what a model's parts once could not compute and nobody asks for any more."""
        with _locked(self.workdir):
            old = read_json(self.pieces)
            left = {
                name: record
                for name, record in old.items()
                if name == PARTS
                or name in asked
                or "not_computed" not in record
                or (record.get("prefix"), record.get("part")) not in [(prefix, p) for p in parts]
            }
            if left != old:
                files.write_json_atomically(self.pieces, left)

    def refresh(self, name: str, fields: dict[str, Any]) -> None:
        """Puts fields on top of a piece's record, its numbers as they are."""
        with _locked(self.workdir):
            old = read_json(self.pieces)
            if old[name] != old[name] | fields:
                files.write_json_atomically(self.pieces, old | {name: old[name] | fields})

    def name_parts(self, names: Sequence[str]) -> None:
        """Records what there is to ask for, so that a reader knows what was never asked for."""
        with _locked(self.workdir):
            old = read_json(self.pieces)
            if old.get(PARTS) != list(names):
                files.write_json_atomically(
                    self.pieces, {PARTS: list(names)} | old | {PARTS: list(names)}
                )

    def _write_figure(self, prefix: str, figure: Figure) -> dict[str, str]:
        path = pathlib.Path("figures") / f"{prefix}{figure.name}{figure.suffix}"
        arrays = io.BytesIO()
        np.savez_compressed(arrays, allow_pickle=False, **figure.arrays)
        files.write_bytes_atomically(self.workdir / path, figure.data)
        files.write_bytes_atomically(self.workdir / path.with_suffix(".npz"), arrays.getvalue())
        return {"name": figure.name, "file": str(path), "caption": figure.caption}


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """A JSON object; {} where there is no file.

    Raises:
      UserError: if it is damaged.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:  # not UTF-8 is one too
        found = f"something else ({error})"
    if isinstance(found, dict):
        return found
    raise UserError(
        f"{path}: expected a JSON object, found {str(found)[:80]!r}; restore the file, or move it "
        f"away and evaluate again"
    )


def read_pieces(workdir: pathlib.Path) -> dict[str, dict[str, Any]]:
    """The records of W/evaluation.json, piece by piece."""
    path = workdir / "evaluation.json"
    found = {name: record for name, record in read_json(path).items() if name != PARTS}
    if any(not isinstance(record, dict) for record in found.values()):
        raise UserError(
            f"{path}: expected a record for each piece, found something else; restore the file, or "
            f"move it away and evaluate again"
        )
    return found


def number_of(workdir: pathlib.Path, name: str, checkpoint: str, step: int) -> float | None:
    """The number `name` of one very model of a run, None where none is on record.

    Args:
      workdir: W.
      name: as "test/accuracy", without the prefix of a checkpoint.
      checkpoint: as of `load`: "last", "best", "ema" or a step.
      step: of the model.
    """
    found = read_json(workdir / "metrics.json")
    for key, source in read_json(workdir / "metrics_provenance.json").items():
        whose = source.get("checkpoint"), source.get("step")
        if (key == name or key.endswith(f"/{name}")) and whose == (checkpoint, step):
            return found.get(key)
    return None


def by_training(step: int, checkpoint: str = "last") -> dict[str, Any]:
    """The provenance of a number that the training itself wrote, for `merge_metrics`."""
    return {"part": "training", "checkpoint": checkpoint, "step": step}


def _update(path: pathlib.Path, new: dict[str, Any], stale: list[str]) -> dict[str, Any]:
    old = {key: value for key, value in read_json(path).items() if key not in stale}
    files.write_json_atomically(path, old | new)
    return old | new


@contextlib.contextmanager
def _locked(workdir: pathlib.Path) -> Iterator[None]:
    """Read, merge and replace as one act, where several evaluations share a W."""
    with open(workdir / ".metrics.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def merge_metrics(
    workdir: pathlib.Path, found: dict[str, Any], source: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Puts `found` on top of W/metrics.json, replaced atomically; returns all of it.

    Args:
      workdir: W.
      found: {name: value}.
      source: what stands under each name in W/metrics_provenance.json; None: nothing does, and
        what stood there goes, as it spoke of an older number.
    """
    with _locked(workdir):
        whence = dict.fromkeys(found, source) if source else {}
        _update(workdir / "metrics_provenance.json", whence, list(found))
        return _update(workdir / "metrics.json", found, [])
