"""A folder knows its run: whatever is lost, changed or asked for, no other result is printed."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest

import main
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.training import train, watch
from sadajem_jax.workdir import settings
from sadajem_jax.workdir.checkpoint import Checkpoints
from tests import runs

STEPS = {"train__num_steps": 10, "checkpoint__every_steps": 5}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A finished run of ten steps; tests change copies."""
    workdir = tmp_path_factory.mktemp("made")
    assert main.main(runs.command(workdir, **STEPS)) == 0
    return workdir


@pytest.fixture
def copied(made: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the finished run."""
    return pathlib.Path(shutil.copytree(made, tmp_path / "run"))


def refusal(argv: list[str], capsys: Any) -> str:
    """The one line that a command is refused with."""
    assert main.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize("loss", ["deleted", "torn"])
def test_without_its_config_a_folder_knows_its_run(
    copied: pathlib.Path, capsys: Any, loss: str
) -> None:
    """With W/config.json lost, another seed is refused; the run's own command prints its result."""
    config = copied / "config.json"
    config.unlink() if loss == "deleted" else config.write_text(config.read_text()[:40])
    error = refusal(runs.command(copied, seed=3, **STEPS), capsys)
    assert "config.seed: 0 there, 3 asked for" in error
    before = (copied / "train_metrics.jsonl").read_text()
    assert main.main(runs.command(copied, **STEPS)) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert (copied / "train_metrics.jsonl").read_text() == before
    assert settings.read(copied)["train.num_steps"] == 10  # made whole again


def test_torn_numbers_are_named(copied: pathlib.Path, capsys: Any) -> None:
    """A truncated W/metrics.json is one line that says what to do, in training and evaluation."""
    (copied / "metrics.json").write_text('{"test/accur')
    assert "metrics.json" in refusal(runs.command(copied, **STEPS), capsys)
    argv = ["--mode=eval", f"--workdir={copied}", "--config.eval.only=accuracy"]
    assert "metrics.json" in refusal(argv, capsys)


def test_restarts_may_be_allowed_later(copied: pathlib.Path) -> None:
    """More restarts, which the error of a divergence advises, are no other run."""
    more = {"train__max_restarts": 4, "checkpoint__keep": 6}
    assert main.main(runs.command(copied, **STEPS, **more)) == 0


def partial(count: int) -> Any:
    """Stands in for `loading.load`: a folder with the first `count` training images only."""
    whole = loading.load

    def load(spec: Any, split: str, data_dir: str | None = None) -> Images:
        images = whole(spec, split, data_dir)
        return images if split == "test" else Images(images.images[:count], images.labels[:count])

    return load


def test_a_partial_folder_s_run_is_known_as_finished(
    tmp_path: pathlib.Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On fewer images an epoch is shorter; the finished run is recognised without reading any, and
    is refused where the folder holds other images than it was trained on.
    """
    monkeypatch.setattr(loading, "load", partial(320))
    argv = runs.command(tmp_path, train__num_steps=0, train__num_epochs=1)
    assert main.main(argv) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["train/steps"] == 20
    monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("read the images"))
    assert main.main(argv) == 0
    assert "test accuracy" in capsys.readouterr().out
    (tmp_path / "metrics.json").unlink()
    monkeypatch.undo()
    monkeypatch.setattr(loading, "load", partial(160))
    error = refusal(argv, capsys)
    assert "was trained on 320 training images, found 160" in error


def test_a_folder_of_too_few_images_is_refused(
    tmp_path: pathlib.Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer images than a batch, or than are to be held out, is one line and leaves no run."""
    monkeypatch.setattr(loading, "load", partial(12))
    assert "batch_size_label must be at most the 12" in refusal(runs.command(tmp_path), capsys)
    error = refusal(runs.command(tmp_path, data__val_size=12), capsys)
    assert "data.val_size" in error and "12" in error
    assert not (tmp_path / "config.json").exists()


def test_the_first_buffer_stays_the_measure(copied: pathlib.Path) -> None:
    """What a collapse is measured by is the spread of the first buffer, carried by checkpoints, and
    taken over by the process that goes on.
    """
    checkpoints = Checkpoints(copied / "checkpoints", read_only=True)
    first, last = checkpoints.read(0), checkpoints.read(10)
    measure = watch.spread(first.state["buffer"][: train.SHOWN])
    assert measure != pytest.approx(watch.spread(last.state["buffer"][: train.SHOWN]), rel=1e-4)
    assert last.notes["first_spread"] == pytest.approx(measure)
    shutil.rmtree(copied / "checkpoints" / "10")
    assert main.main(runs.command(copied, **STEPS)) == 0
    again = Checkpoints(copied / "checkpoints", read_only=True).read(10)
    assert again.notes["first_spread"] == last.notes["first_spread"]


def test_results_without_checkpoints_are_set_aside(tmp_path: pathlib.Path, capsys: Any) -> None:
    """With the checkpoints gone, a new run reports nothing of the old one's, and loses none."""
    validated = {"data__val_size": 100, "eval__every_epochs": 1, "train__batch_size_label": 200}
    assert main.main(runs.command(tmp_path, **STEPS, **validated)) == 0
    shutil.rmtree(tmp_path / "checkpoints")
    assert main.main(runs.command(tmp_path, seed=7, **STEPS)) == 0
    assert "earlier_1" in capsys.readouterr().out
    assert not any(name.startswith("best/") for name in numbers(tmp_path))
    assert any(name.startswith("best/") for name in numbers(tmp_path / "earlier_1"))
    assert not (tmp_path / "best").exists() and (tmp_path / "earlier_1" / "best").is_dir()


def numbers(workdir: pathlib.Path) -> dict[str, float]:
    """W/metrics.json."""
    return json.loads((workdir / "metrics.json").read_text())


def test_a_lost_log_keeps_no_run_from_its_end(copied: pathlib.Path, capsys: Any) -> None:
    """Without its log a finished run still writes its numbers; a damaged log is one line."""
    (copied / "metrics.json").unlink()
    (copied / "train_metrics.jsonl").unlink()
    assert main.main(runs.command(copied, **STEPS)) == 0
    assert "test accuracy" in capsys.readouterr().out
    (copied / "metrics.json").unlink()
    (copied / "train_metrics.jsonl").write_text('xx\n{"step": 2}\n')
    assert "train_metrics.jsonl, line 1" in refusal(runs.command(copied, **STEPS), capsys)
