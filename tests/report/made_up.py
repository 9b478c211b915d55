"""Made-up evaluations, as files of a workdir, and the page that is made of them, taken apart."""

from __future__ import annotations

import html.parser
import io
import json
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from sadajem_jax.cli import config as config_files
from sadajem_jax.report import page

PARTS = ["accuracy", "calibration", "ood", "samples", "curves"]
RECORD: dict[str, Any] = {
    "checkpoint": "last",
    "step": 200,
    "checksum": "0",
    "settings": {"data": "cifar10", "split": "test"},
    "version": "0",
    "figures": [],
    "notes": [],
    "hardware": "a device",
    "seconds": 3.0,
    "finished": "2026-01-01 00:00:00",
    "images": 10,
    "images_per_second": 1234.5,
}
BEHIND = ("checkpoint", "step", "checksum", "settings", "notes", "version")
NEW = ("num_sgld_steps", "size", "prefix")


class Workdir:
    """The files of an evaluated run; each piece is added as an evaluation records it."""

    def __init__(self, path: pathlib.Path, config: str = "cifar10") -> None:
        self.path = path
        self.config = config_files.load(f"configs/{config}.py").to_dict()
        self.metrics: dict[str, float] = {}
        self.provenance: dict[str, Any] = {}
        self.pieces: dict[str, Any] = {"parts": PARTS}

    def piece(
        self, name: str, numbers: dict[str, float], prefix: str = "", **fields: Any
    ) -> Workdir:
        """A piece and its numbers, their names without the prefix; replaces an earlier one."""
        found = {prefix + key: value for key, value in numbers.items()}
        record = RECORD | {"part": name.split("/")[0], "prefix": prefix, "metrics": list(found)}
        record |= {"checkpoint": prefix.strip("/").removeprefix("step_") or "last"} | fields
        source = {"part": prefix + name, **{key: record[key] for key in BEHIND}}
        source |= {key: record[key] for key in NEW if key in record}
        self.pieces[prefix + name] = record
        self.metrics |= found
        self.provenance |= dict.fromkeys(found, source)
        return self

    def ood(self, label: str, auroc: float, prefix: str = "", **fields: Any) -> Workdir:
        """The piece of a set, with log p(x)'s AUROC alone."""
        numbers = {f"ood/{label}/log_density/auroc": auroc}
        return self.piece(f"ood/{label}", numbers, prefix, label=label, **fields)

    def training(self, numbers: dict[str, float], step: int) -> Workdir:
        """What a training writes at its end."""
        source = {"part": "training", "checkpoint": "last", "step": step}
        self.metrics |= numbers
        self.provenance |= dict.fromkeys(numbers, source)
        return self

    def without(self, *fields: str) -> Workdir:
        """As an older version wrote it, which knew none of these fields."""
        self.pieces = {k: _less(v, fields) for k, v in self.pieces.items() if k not in fields}
        self.provenance = {key: _less(source, fields) for key, source in self.provenance.items()}
        return self

    def save(self) -> Workdir:
        """Writes the files."""
        found = {
            "config": self.config,
            "metrics": self.metrics,
            "metrics_provenance": self.provenance,
            "evaluation": self.pieces,
        }
        for name, content in found.items():
            (self.path / f"{name}.json").write_text(json.dumps(content))
        return self

    def page(self) -> Page:
        """What a reader sees."""
        self.save()
        return Page(page.write(self.path).read_text())

    def figure(self, caption: str) -> dict[str, str]:
        """A small picture on the disk, as a record names it."""
        (self.path / "figures").mkdir(exist_ok=True)
        (self.path / "figures" / "x.png").write_bytes(png())
        return {"name": "x", "file": "figures/x.png", "caption": caption}


def _less(record: Any, fields: tuple[str, ...]) -> Any:
    if not isinstance(record, dict):
        return record
    return {key: value for key, value in record.items() if key not in fields}


def png() -> bytes:
    """A small picture."""
    out = io.BytesIO()
    Image.fromarray(np.arange(75, dtype=np.uint8).reshape(5, 5, 3)).save(out, format="PNG")
    return out.getvalue()


class Page(html.parser.HTMLParser):
    """A page's tags, the addresses they name, and its texts by where they stand.

    Attributes:
      text: the whole file.
      open: tags that never close.
      addresses: of pictures and links.
      rows: the cells of every table's rows.
      kinds: the class of each of them.
      tiles: the texts of each tile: value, name, checkpoint.
      amber: the texts that are marked as of an older step, outside tables.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.rows: list[list[str]] = []
        self.kinds: list[str] = []
        self.tiles: list[list[str]] = []
        self.amber: list[str] = []
        self._classes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes addresses and new rows; what has no end is not left open."""
        self.addresses += [v or "" for k, v in attrs if k in ("href", "src", "action", "srcset")]
        kind = dict(attrs).get("class") or ""
        if tag not in ("meta", "link", "img", "!doctype"):
            self.open.append(tag)
            self._classes.append(kind)
        if tag == "tr":
            self.rows.append([])
            self.kinds.append(kind)
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if kind == "tile":
            self.tiles.append([])

    def handle_endtag(self, tag: str) -> None:
        """Every tag closes the last that is open."""
        assert self.open.pop() == tag
        self._classes.pop()

    def handle_data(self, text: str) -> None:
        """Text of a cell or a tile."""
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += text
        if "tile" in self._classes:
            self.tiles[-1].append(text)
        if self._classes and "old" in self._classes[-1].split():
            self.amber.append(text)

    def ours(self) -> list[list[str]]:
        """The rows that stand beside the paper's."""
        return [row for row in self.rows if row[0].startswith("Ours: ")]

    def older(self) -> list[list[str]]:
        """The rows that are marked as of an older step."""
        marked = zip(self.rows, self.kinds, strict=True)
        return [row for row, kind in marked if "older" in kind.split()]
