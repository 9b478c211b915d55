"""docs/extending.md: the system that it adds is added so, and trains."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

import main
from sadajem_jax import further_terms
from tests import places, runs


@pytest.fixture(autouse=True)
def no_term_known() -> Iterator[None]:
    """No term is known before a test, and none that it adds after it."""
    with mock.patch.dict(further_terms.TERMS, clear=True):
        yield


@pytest.fixture
def written(tmp_path: pathlib.Path) -> pathlib.Path:
    """The file that the page shows."""
    page = (places.ROOT / "docs" / "extending.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    path = tmp_path / "adversarial.py"
    path.write_text(code)
    return path


def test_the_page_s_system_trains_and_is_evaluated(written: pathlib.Path, capsys: Any) -> None:
    """Two steps of it, by main: its term is logged and in the loss, and it is evaluated without it.

    Without a norm and SAM, which compile long and have tests of their own.
    """
    workdir = written.parent / "run"
    quick = {"model__norm": "none", "sam__rho": 0.0, "train__num_steps": 2}
    argv = runs.command(workdir, **quick)
    argv[0] = f"--config={written}"
    assert main.main(argv) == 0
    lines = [json.loads(x) for x in (workdir / "train_metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        parts = line["px_term"] + line["cross_entropy"] + 0.1 * line["adversarial"]
        assert line["loss"] == pytest.approx(parts, abs=1e-5) and line["adversarial"] != 0
    assert json.loads((workdir / "config.json").read_text())["system"] == "adversarial"
    further_terms.TERMS.pop("adversarial")
    argv = ["--mode=eval", f"--workdir={workdir}", "--config.eval.only=accuracy"]
    assert main.main(argv) == 0
    assert "test" in capsys.readouterr().out


def test_an_unknown_term_is_refused(capsys: Any) -> None:
    """A term that no config has added is named in one line, with the page that says how."""
    argv = ["--config=configs/digits.py", "--config.objective.further=adverse"]
    assert main.main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'adverse'" in error and "docs/extending.md" in error
