"""The log of a run: what is written every so many steps, and what is said by time."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sadajem_jax.training import run_log
from sadajem_jax.training.run_log import RunLog
from tests import events, pages

STEPS = 40
RATES = np.arange(1, STEPS + 1) / 1000
SETTINGS = {"sam.rho": 0.2, "data.name": "digits", "init_from": ""}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The time that lines go by."""
    now = {"s": 0.0}
    monkeypatch.setattr(run_log.time, "monotonic", lambda: now["s"])
    return now


def told(step: int, count: int, has_px: bool = True) -> dict[str, np.ndarray]:
    """Metrics of the `count` steps up to `step`, each of the step's number."""
    names = ["cross_entropy", "accuracy", "loss"]
    names += ["log_density_data", "log_density_gap"] if has_px else []
    of_step = np.arange(step - count + 1, step + 1) / 100
    return {name: of_step for name in names}


def started(folder: pathlib.Path) -> RunLog:
    """A log of 40 steps, a row every 10."""
    given = {"total_steps": STEPS, "every_steps": 10, "batch_size": 6, "steps_per_epoch": 5}
    return RunLog(folder, 0, first_spread=1.0, rates=RATES, settings=SETTINGS, **given)


def run(folder: pathlib.Path, clock: dict[str, float], seconds: float = 2.0, **how: Any) -> None:
    """Blocks of one step that compiles, and then of three, `seconds` each."""
    log = started(folder)
    for step in range(1, STEPS + 1, 3):
        clock["s"] += seconds if step > 1 else 100
        log.add(step, told(step, 1 if step == 1 else 3, **how), seconds if step > 1 else 100.0)
    log.close()


def test_the_file_has_means_of_its_steps(tmp_path: pathlib.Path, clock: Any) -> None:
    """Every tenth step has a row of means, whatever is said; the block that compiles is untimed."""
    run(tmp_path, clock)
    rows = [json.loads(s) for s in (tmp_path / "train_metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30, 40]
    assert [row["accuracy"] for row in rows] == pytest.approx([0.055, 0.155, 0.255, 0.355])
    assert [row["images_per_second"] for row in rows] == pytest.approx([9.0] * 4)
    assert rows[1]["epoch"] == 4
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.01, 0.02, 0.03, 0.04])


def test_tensorboard_has_groups_the_config_and_what_was_evaluated(
    tmp_path: pathlib.Path, clock: Any
) -> None:
    """While the run goes on, its events are on the disk: groups, rates, val/*, grid and config."""
    log = started(tmp_path)
    log.add(1, told(1, 1), 1.0)
    for first in range(1, 31):
        log.add(1 + first, told(1 + first, 1) | {"mine": np.ones(1)}, 1.0)
    log.evaluated(30, {"val/accuracy": 0.5})
    log.samples(30, np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)))
    found = events.read_folder(tmp_path / "events")  # the log is still open
    log.close()
    at = {(step, name): value for step, name, value in events.scalars(found)}
    assert at[20, "learning_rate"] == pytest.approx(0.02) and at[30, "val/accuracy"] == 0.5
    groups = {"loss/cross_entropy", "log_density/gap", "train/accuracy", "loss/further/mine"}
    assert groups | {"time/images_per_second"} <= {name for step, name in at if step == 20}
    plugins = {v.tag: v.metadata.plugin_data.plugin_name for e in found for v in e.summary.value}
    assert plugins["config"] == "text" and "samples/0" in plugins
    assert plugins["_hparams_/session_start_info"] == "hparams"


@pytest.fixture
def drawn_pages() -> Iterator[None]:
    """Pages are drawn, as they are but in tests."""
    with pages.drawn():
        yield


@pytest.mark.usefixtures("drawn_pages")
def test_the_page_is_made_with_news_and_not_every_moment(
    tmp_path: pathlib.Path, clock: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W/report/ is made after an evaluation, a grid or a save, once a minute, and at a stop; a
    failure warns once.
    """
    (tmp_path / "config.json").write_text('{"train": {"num_steps": 40}}')
    log, index = started(tmp_path), tmp_path / "report" / "index.html"
    log.add(1, told(1, 1), 1.0)
    log.page()
    assert not index.exists()  # no news
    for step in range(2, 11):
        log.add(step, told(step, 1), 1.0)
    log.evaluated(10, {"val/accuracy": 0.5})
    log.page()
    assert "at step 10 of" in index.read_text() and index.read_text().count("<img") == 2
    index.unlink()
    log.evaluated(20, {"val/accuracy": 0.6})
    log.page()
    assert not index.exists()  # too soon, and made up for
    clock["s"] += 60
    log.page()
    assert index.exists()
    for how, is_made in (({}, False), ({"is_saved": True}, False), ({"is_last": True}, True)):
        index.unlink(missing_ok=True)
        log.page(**how)
        assert index.exists() == is_made, how
    monkeypatch.setattr(run_log.own_page.page, "write", lambda workdir: 1 / 0)
    for _ in range(2):
        clock["s"] += 60
        log.evaluated(30, {"val/accuracy": 0.7})
        log.page()
    log.close()
    said = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert len(said) == 1 and "was not made: ZeroDivisionError" in said[0]


def test_lines_come_by_time(tmp_path: pathlib.Path, clock: Any, capsys: Any) -> None:
    """After the first step, then every half minute in a file, and at the end, in columns."""
    run(tmp_path, clock, seconds=12.0)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert [line.split("/")[0] for line in lines] == [
        f"step {n:2d}" for n in (1, 10, 19, 28, 37, STEPS)
    ]
    assert "first step took 1 min 40 s" in lines[0]
    assert "2 images/s, 2 min 00 s left  nll 0.060  acc  6.0%" in lines[1]
    assert len({line.index("nll") for line in lines}) == 1
    assert max(map(len, lines)) <= 100 and lines[1].endswith("log p  +0.06  gap +0.06")


def test_a_line_of_the_paper_s_run_fits(tmp_path: pathlib.Path, capsys: Any) -> None:
    """Of 78,000 steps at a GPU's speed a line has at most 100 characters."""
    log = RunLog(tmp_path, 77_000, total_steps=78_000, every_steps=50, batch_size=128,
                 steps_per_epoch=390, first_spread=1.0, rates=RATES, settings={})  # fmt: skip
    log._rate = 12.0 / 3600  # so that hours are left
    line = log._line(77_001, {n: v[0] for n, v in told(77_001, 1).items()} | {
        "cross_entropy": 1.576, "accuracy": 0.454, "log_density_data": -13.51,
        "log_density_gap": -0.06}, log._outlook(77_001, 110.0))  # fmt: skip
    log.close()
    assert "14,080 images/s, " in line and len(line) <= 100


def test_a_classifier_has_no_density(tmp_path: pathlib.Path, clock: Any, capsys: Any) -> None:
    """Without a p(x) term its numbers are left out of the line."""
    run(tmp_path, clock, has_px=False)
    assert "log p" not in capsys.readouterr().out
