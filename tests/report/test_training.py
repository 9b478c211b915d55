"""The page of a training that goes on: what it tells, and that it says so."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from sadajem_jax.report.training import CURVES
from tests.report.made_up import PARTS, Page, Workdir, png


def on_the_way(folder: pathlib.Path, step: int = 100, **fields: Any) -> Workdir:
    """A training of 200 steps at `step`, evaluated there, with a grid and curves."""
    made = Workdir(folder)
    made.config["train"]["num_steps"] = 200
    (folder / "samples").mkdir()
    (folder / "figures").mkdir()
    for name in ("samples/step_00000050.png", f"samples/step_{step:08d}.png", CURVES):
        (folder / name).write_bytes(png())
    row = {"step": step, "epoch": step / 39, "accuracy": 0.5}
    judged = {"step": step, "val/accuracy": 0.625, "val/nll": 1.25}
    (folder / "train_metrics.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "eval_metrics.jsonl").write_text(json.dumps(judged) + "\n")
    return made


def pictures(page: Page) -> int:
    """How many the page holds."""
    return sum(address.startswith("data:image") for address in page.addresses)


def test_a_run_that_goes_on_says_where_it_is(tmp_path: pathlib.Path) -> None:
    """Step, length and epoch, the last validation with its step, the last grid and the curves."""
    made = on_the_way(tmp_path)
    made.pieces = {}
    page = made.page()
    assert "at step 100 of 200 (epoch 2.56)" in page.text
    assert "62.50%" in page.text and "step 100</span>" in page.text
    assert pictures(page) == 2 and "buffer at step 100" in page.text
    assert "nothing evaluated yet" in page.text and "Times and hardware" not in page.text
    assert not page.open


def test_epochs_give_the_length(tmp_path: pathlib.Path) -> None:
    """Without a number of steps the run is as long as its epochs, of the log's steps each."""
    made = on_the_way(tmp_path)
    made.config["train"] |= {"num_steps": 0, "num_epochs": 200}
    assert "at step 100 of 7,800 (epoch 2.56)" in made.page().text


def test_a_finished_run_keeps_its_pictures_until_it_is_evaluated(tmp_path: pathlib.Path) -> None:
    """At its end nothing goes on; pictures stand until an evaluation of that step has its own."""
    made = on_the_way(tmp_path, 200).training({"test/accuracy": 0.9, "train/steps": 200}, 200)
    made.pieces = {"parts": PARTS}
    page = made.page()
    assert "run goes on" not in page.text and "90.00%" in page.text and pictures(page) == 2
    made.piece("samples", {}, step=199)
    assert pictures(made.page()) == 2
    made.piece("samples", {}, step=200).piece("curves", {}, step=200)
    assert pictures(made.page()) == 0 and "The training" not in made.page().text


def test_numbers_of_the_test_set_on_the_way_are_not_to_choose_by(tmp_path: pathlib.Path) -> None:
    """Where no images are held out the page says what its test numbers are good for."""
    made = on_the_way(tmp_path)
    (tmp_path / "eval_metrics.jsonl").write_text('{"step": 100, "test/accuracy": 0.75}\n')
    page = made.page()
    assert "75.00%" in page.text and "nothing is to be chosen" in page.text
