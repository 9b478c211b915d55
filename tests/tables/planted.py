"""Planted runs: folders with known numbers and figures, and the tables that are made of them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np

from sadajem_jax.tables import contents, entries
from sadajem_jax.tables.entries import Entry
from sadajem_jax.tables.table import Row, Table
from tests.report.made_up import Workdir, png


def run(
    path: pathlib.Path,
    seed: int = 0,
    *,
    data: str = "cifar10",
    accuracy: float | None = None,
    **overrides: Any,
) -> Workdir:
    """A finished run of 200 steps; overrides by field, a double underscore for the dot."""
    path.mkdir(parents=True)
    made = Workdir(path, data)
    made.config["seed"] = seed
    for name, value in overrides.items():
        *sections, last = name.split("__")
        at = made.config
        for section in sections:
            at = at[section]
        at[last] = value
    if accuracy is not None:
        made.training({"test/accuracy": accuracy, "train/steps": 200}, step=200)
    return made.save()


def figure(made: Workdir, piece: str, name: str, **arrays: np.ndarray) -> None:
    """Plants a piece with one figure and its arrays; "." in a key stands for a slash."""
    folder = made.path / "figures"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.png").write_bytes(png())
    named: dict[str, Any] = {key.replace(".", "/"): value for key, value in arrays.items()}
    np.savez(folder / f"{name}.npz", allow_pickle=False, **named)
    numbers = {"ood/x/log_density/auroc": 0.5} if piece == "ood/x" else {}
    label = {"label": "x"} if piece == "ood/x" else {}
    drawn = {"name": name, "file": f"figures/{name}.png", "caption": "A figure."}
    made.piece(piece, numbers, figures=[drawn], **label).save()


def log(made: Workdir, *lines: dict[str, Any]) -> None:
    """Plants a training log."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (made.path / "train_metrics.jsonl").write_text(text)


def rows_of(*made: Workdir) -> list[Entry]:
    """The rows of ours."""
    return entries.grouped(entries.read([workdir.path for workdir in made]))


def table(key: str, *made: Workdir) -> Table:
    """A table of these runs."""
    (found,) = [t for t in contents.tables(rows_of(*made)) if t.key == key]
    return found


def ours(of: Table) -> list[Row]:
    """The rows of ours."""
    return [row for row in of.rows if row.runs]


def texts(row: Row) -> list[str]:
    """What its cells show."""
    return [cell.text for cell in row.cells]
