"""What is said of the demo is what was seen: the marked texts beside docs/demo.json."""

from __future__ import annotations

import json
import pathlib

import pytest

from sadajem_jax.cli import config as configs
from tools.results import demo, said


@pytest.mark.parametrize("name", said.TEXTS)
def test_every_figure_of_the_demo_is_that_of_its_last_run(name: str) -> None:
    """The text between the marks is what docs/demo.json makes it, to the letter."""
    text = (said.ROOT / name).read_text()
    assert said.between_marks(text, said.TEXTS[name](said.numbers())) == text


def test_another_number_is_another_text() -> None:
    """A text depends on the numbers: with another accuracy, or time, it says so."""
    seen = said.numbers()
    seen["metrics"]["test/accuracy"], seen["seconds"]["all"] = 0.1234, 61
    for text in (said.readme(seen), said.results(seen)):
        assert "12.3" in text and "1 min 01 s" in text
    assert "another line" in said.first_hour(seen | {"log": ["another line"]})


def test_the_demo_that_was_seen_is_the_demo_that_ships() -> None:
    """docs/demo.json was made with today's configs/digits.py: a change asks for `make results`."""
    assert said.numbers()["config"] == json.loads(
        json.dumps(configs.load("configs/digits.py").to_dict())
    )


def test_a_finished_demo_is_read(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds of training are steps over their rate; those of the evaluation its pieces'."""
    seen = said.numbers()
    left = {
        "metrics.json": seen["metrics"] | {"train/images_per_second": 320.0, "train/steps": 100},
        "config.json": seen["config"],
        "evaluation.json": {"parts": [], "accuracy": {"seconds": 2.04, "hardware": "abacus"}},
    }
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    for name, content in left.items():
        (tmp_path / "runs" / "demo" / name).write_text(json.dumps(content))
    monkeypatch.setattr(demo.subprocess, "check_output", lambda *_, **__: "3.14.0 0.12\n")
    found = demo.seen(tmp_path, installing=30.4, everything=99.6)
    assert found["seconds"] == {"all": 100, "installing": 30, "training": 20, "evaluating": 2}
    assert (found["hardware"], found["python"], found["pieces"]) == (
        "abacus",
        "3.14.0",
        {"accuracy": 2.0},
    )


def test_marks_that_are_not_there_are_an_error() -> None:
    """Nothing is written into a text that has lost a mark."""
    with pytest.raises(ValueError, match="once each"):
        said.between_marks(said.START, "x")
