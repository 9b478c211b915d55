"""The report page: it needs nothing else, says where each number is from, and hides no gap."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sadajem_jax.cli import config as config_files
from sadajem_jax.report import page as report
from sadajem_jax.report import paper_numbers

RECORD: dict[str, Any] = {
    "checkpoint": "last",
    "step": 200,
    "checksum": "0",
    "settings": {"data": "cifar10", "split": "test"},
    "version": "0",
    "metrics": [],
    "figures": [],
    "notes": [],
    "hardware": "a device",
    "seconds": 3.0,
    "finished": "2026-01-01 00:00:00",
    "images": 10,
    "images_per_second": 1234.5,
}
METRICS = {"test/accuracy": 0.9601, "ood/svhn_cropped/log_density/auroc": 0.9512, "train/steps": 9}
SVHN = "svhn_cropped: 10,000 of the 26,032 official test images of svhn_cropped."


def png() -> bytes:
    """A small picture."""
    out = io.BytesIO()
    Image.fromarray(np.arange(75, dtype=np.uint8).reshape(5, 5, 3)).save(out, format="PNG")
    return out.getvalue()


def write(workdir: pathlib.Path, **changes: Any) -> str:
    """The page of a made-up CIFAR-10 evaluation; `changes` replace whole files."""
    figure = {"name": "x", "file": "figures/x.png", "caption": "A <b> & c"}
    source = {"part": "accuracy", "checkpoint": "last", "step": 200, "settings": {"split": "test"}}
    found: dict[str, Any] = {
        "config": config_files.load("configs/cifar10.py").to_dict(),
        "metrics": METRICS,
        "metrics_provenance": dict.fromkeys([n for n in METRICS if "train" not in n], source),
        "evaluation": {
            "accuracy": RECORD | {"figures": [figure]},
            "ood/svhn_cropped": RECORD | {"notes": [SVHN]},
            "ood/celeb_a": RECORD | {"not_computed": "celeb_a: <none> & nowhere"},
        },
    }
    (workdir / "figures").mkdir()
    (workdir / "figures" / "x.png").write_bytes(png())
    for name, content in (found | changes).items():
        (workdir / f"{name}.json").write_text(json.dumps(content))
    path = report.write(workdir)
    assert path == workdir / "report" / "index.html"
    return path.read_text()


class Page(html.parser.HTMLParser):
    """Tags, the addresses they name, and the text of table rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes addresses and new rows; what has no end is not left open."""
        self.addresses += [v or "" for k, v in attrs if k in ("href", "src", "action", "srcset")]
        if tag not in ("meta", "link", "img", "!doctype"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Every tag closes the last that is open."""
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        """Text of a cell."""
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += text


def test_the_page_is_whole_and_names_nothing_outside(tmp_path: pathlib.Path) -> None:
    """All tags close, every address is data inside the page, and there is no script."""
    text = write(tmp_path)
    page = Page(text)
    assert not page.open
    assert page.addresses and all(a.startswith("data:") for a in page.addresses)
    assert "<script" not in text and "url(" not in text and "@import" not in text


def test_pictures_are_the_files(tmp_path: pathlib.Path) -> None:
    """The bytes inside the page are those of the figure, its caption is text and no markup."""
    text = write(tmp_path)
    (picture,) = [a for a in Page(text).addresses if a.startswith("data:image")]
    assert base64.b64decode(picture.split(",")[1]) == png()
    assert "A &lt;b&gt; &amp; c" in text and "A <b>" not in text


def test_ours_stand_beside_every_row_of_the_paper(tmp_path: pathlib.Path) -> None:
    """Accuracy in percent and AUROC stand in rows of ours, in tables of all the paper's rows."""
    rows = Page(write(tmp_path)).rows
    ours = [row[1:] for row in rows if row[0] == "Ours: WRN-28-10, K = 10, step 200"]
    assert ours[0] == ["96.01", "–", "–"] and ours[1] == ["0.951", "–", "–", "–"]
    systems = {row[0]: row[1:] for row in rows}
    for row in paper_numbers.GENERATION["cifar10"]:
        assert row.system in systems
    assert ["JEM, K = 20", "92.9", "8.76", "38.4"] in rows
    assert ["IGEBM", "0.63", "0.70", "0.50", "0.70"] in rows


def test_a_part_of_a_test_set_is_named_beside_its_numbers(tmp_path: pathlib.Path) -> None:
    """SVHN's column says how many of its images there were."""
    headers = [cell for row in Page(write(tmp_path)).rows for cell in row if "SVHN" in cell]
    assert headers and all(h == "SVHN (10,000 of 26,032)" for h in headers)


def test_what_was_not_computed_is_said(tmp_path: pathlib.Path) -> None:
    """A reason is shown as text, and parts that were never asked for are named as such."""
    text = write(tmp_path)
    assert "not computed, because celeb_a: &lt;none&gt; &amp; nowhere" in text
    assert "<b>samples</b>: not computed, because it was not asked for" in text


def test_every_number_stands_with_what_is_behind_it(tmp_path: pathlib.Path) -> None:
    """All of metrics.json is listed, under its checkpoint, step and settings."""
    text = write(tmp_path)
    names = {row[0] for row in Page(text).rows}
    assert set(METRICS) <= names
    assert "last, step 200; split test" in text and "written by the training at its end" in text


def test_an_older_checkpoints_number_is_marked(tmp_path: pathlib.Path) -> None:
    """A number of an earlier step than the newest evaluated says so; no other does."""
    source = {"part": "accuracy", "checkpoint": "last", "step": 100, "settings": {}}
    text = write(tmp_path, metrics_provenance={"test/accuracy": source})
    assert text.count(report.OLD) == 1


@pytest.mark.parametrize("name", ["cifar100", "digits"])
def test_a_run_that_was_never_evaluated_has_a_page(tmp_path: pathlib.Path, name: str) -> None:
    """With nothing but a config the page says that nothing was computed."""
    config = config_files.load(f"configs/{name}.py").to_dict()
    text = write(tmp_path, config=config, metrics={}, metrics_provenance={}, evaluation={})
    assert not Page(text).open and "nothing evaluated yet" in text
    assert ("BigGAN" in text) == (name == "cifar100")
