"""A run of main in this process: what it writes, and what it goes on from."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

import main
import sadajem_jax
from sadajem_jax.training import divergence, result, run_log
from sadajem_jax.workdir import restarts
from sadajem_jax.workdir.checkpoint import Checkpoints
from sadajem_jax.workdir.restarts import Retries
from tests import events, pages, runs

# Each setting that enters a step's program, its run's length too, is one more to compile: all the
# runs here but two have one of two programs, this one's and that of `runs.TINY`.
LIKE_FINISHED = {
    "data__val_size": 100,
    "eval__every_epochs": 1,
    "train__ema_decay": 0.9,
    "train__batch_size_label": 100,
    "train__num_steps": 20,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The workdir of a finished tiny run, with validation and averages."""
    workdir = tmp_path_factory.mktemp("run")
    with pages.drawn():
        assert main.main(runs.command(workdir, **LIKE_FINISHED)) == 0
    return workdir


def test_writes_what_it_says(finished: pathlib.Path) -> None:
    """A run leaves its config, log, events, grids, checkpoints and numbers."""
    metrics = json.loads((finished / "metrics.json").read_text())
    assert 0.2 < metrics["test/accuracy"] <= 1 and metrics["test/nll"] > 0
    assert metrics["train/steps"] == 20 and metrics["train/images_per_second"] > 0
    assert json.loads((finished / "config.json").read_text())["buffer"]["size"] == 40
    assert runs.logged_steps(finished) == list(range(1, 21))
    assert list((finished / "events").glob("events.out.tfevents.*"))
    page = (finished / "report" / "index.html").read_text()
    assert page.count("<img") == 3 and "run goes on" not in page  # a grid, curves in two
    grids = sorted((finished / "samples").glob("*.png"))
    assert len(grids) == 1 and np.asarray(Image.open(grids[-1])).std() > 10
    assert sorted(int(p.name) for p in (finished / "checkpoints").iterdir()) == [7, 14, 20]


def test_tensorboard_ends_with_the_numbers(finished: pathlib.Path) -> None:
    """Learning rates, validations and the test numbers of the last and the best model are shown."""
    found = {(n, tag): x for n, tag, x in events.scalars(events.read_folder(finished / "events"))}
    metrics = json.loads((finished / "metrics.json").read_text())
    assert found[20, "test/accuracy"] == pytest.approx(metrics["test/accuracy"])
    assert found[20, "best/test/accuracy"] == pytest.approx(metrics["best/test/accuracy"])
    assert {(14, "val/accuracy"), (20, "val/accuracy")} <= found.keys()
    assert found[20, "learning_rate"] < found[10, "learning_rate"] < 0.1


def test_log_density_rises_on_the_chain(finished: pathlib.Path) -> None:
    """The negative samples end at a higher log-density than their chains started from."""
    lines = [json.loads(x) for x in (finished / "train_metrics.jsonl").read_text().splitlines()]
    ends = np.mean([line["log_density_samples"] - line["log_density_start"] for line in lines])
    assert ends > 0


def test_best_is_the_best_on_validation(finished: pathlib.Path) -> None:
    """W/best has the model of the highest validation accuracy, the last step's if that is it; its
    test numbers stand apart.
    """
    lines = [json.loads(x) for x in (finished / "eval_metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [14, 20]
    best = max(lines, key=lambda line: (line["val/accuracy"], -line["step"]))
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["best/train/steps"] == best["step"]
    assert 0 <= metrics["best/test/accuracy"] <= 1


def test_average_follows_the_parameters(finished: pathlib.Path) -> None:
    """The averaged model differs from the last one, and lies near it."""
    state = runs.final_state(finished)
    last, mean = (x["params"]["conv1"]["kernel"] for x in (state, state["ema"]))
    apart = np.linalg.norm(last - mean) / np.linalg.norm(last)
    assert 0 < apart < 0.5


def test_finished_run_prints_its_result(finished: pathlib.Path, capsys: Any) -> None:
    """The same command on a finished workdir trains nothing and prints the result."""
    settings = json.loads((finished / "config.json").read_text())
    assert settings["train"]["num_steps"] == 20
    argv = runs.command(finished, **LIKE_FINISHED)
    before = (finished / "train_metrics.jsonl").stat().st_mtime_ns
    assert main.main(argv) == 0
    said = capsys.readouterr().out
    assert "this run is at its end" in said and "test accuracy" in said
    assert all(str(finished / name) in said for name in ("report/index.html", "events", "samples"))
    assert f"--mode=eval --workdir={finished}\n" in said
    assert (finished / "train_metrics.jsonl").stat().st_mtime_ns == before


def test_another_run_is_refused_by_name(finished: pathlib.Path, capsys: Any) -> None:
    """Fields that define the result may not change; the line names each, old and new."""
    argv = runs.command(finished, **LIKE_FINISHED, sam__rho=0.4)
    assert main.main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "config.sam.rho: 0.0 there, 0.4 asked for" in error


def test_longer_run_only_with_the_same_rates(tmp_path: pathlib.Path, capsys: Any) -> None:
    """A longer run goes on where the learning rates used stay the same, and is refused else."""
    schedule = {"train__schedule": "constant", "train__num_steps": 12}
    assert main.main(runs.command(tmp_path, **schedule)) == 0
    longer = schedule | {"train__num_steps": 14}  # the warm-up stays one step long
    assert main.main(runs.command(tmp_path, **longer)) == 0
    assert runs.logged_steps(tmp_path) == list(range(1, 15))
    assert main.main(runs.command(tmp_path, **(longer | {"train__num_steps": 400}))) == 2
    error = capsys.readouterr().err
    assert "config.train.num_steps: 14 there, 400 asked for" in error and "learning rates" in error


def test_damaged_checkpoint_falls_back(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the last checkpoint torn, the run goes on from the one before, says so, same bits."""
    argv = runs.command(tmp_path)
    assert main.main(argv) == 0
    whole = runs.final_state(tmp_path)
    (tmp_path / "metrics.json").unlink()
    for path in (tmp_path / "checkpoints" / "40").rglob("*"):
        if path.is_file() and path.stat().st_size > 100:
            path.write_bytes(path.read_bytes()[:-50])
    assert main.main(argv) == 0
    assert "checkpoint 40 is damaged" in caplog.text
    runs.assert_same_bits(runs.final_state(tmp_path), whole)
    assert runs.logged_steps(tmp_path) == list(range(1, 41))


def test_init_from_another_run(finished: pathlib.Path, tmp_path: pathlib.Path, capsys: Any) -> None:
    """A run begins with the parameters of another one's last checkpoint, and says what it took."""
    assert main.main(runs.command(tmp_path, init_from=finished, checkpoint__keep=10)) == 0
    theirs, ours = runs.final_state(finished), runs.state_of(tmp_path, 0)
    runs.assert_same_bits(ours["params"], theirs["params"])
    said = capsys.readouterr().out
    assert f"init_from: the model of step 20 of {finished}\n" in said
    assert "parameters, running statistics; new: step, optimizer, buffer\n" in said


def test_a_missing_run_to_start_from_is_seen_first(tmp_path: pathlib.Path, capsys: Any) -> None:
    """A folder without a run, or without a checkpoint, is refused before anything is made."""
    (tmp_path / "young" / "checkpoints").mkdir(parents=True)
    for name, said in (("none", "must be a run's folder"), ("young", "no checkpoint yet")):
        assert main.main(runs.command(tmp_path / "W", init_from=tmp_path / name)) == 2
        told = capsys.readouterr()
        assert said in told.err and "filling" not in told.out
        assert not (tmp_path / "W" / "config.json").exists()


def test_averages_start_at_the_model_adopted(
    finished: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """With init_from the averages begin at that run's parameters, not at random ones."""
    argv = runs.command(tmp_path, **LIKE_FINISHED, init_from=finished, checkpoint__keep=10)
    assert main.main(argv) == 0
    theirs, ours = runs.final_state(finished), runs.state_of(tmp_path, 0)
    runs.assert_same_bits(ours["ema"]["params"], theirs["params"])


def test_a_damaged_best_keeps_no_run_from_its_end(
    finished: pathlib.Path, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With one byte of W/best flipped the run still writes its numbers, and says what is wrong."""
    copy = pathlib.Path(shutil.copytree(finished, tmp_path / "run"))
    files = [path for path in (copy / "best").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    (copy / "metrics.json").unlink()
    assert main.main(runs.command(copy, **LIKE_FINISHED)) == 0
    metrics = json.loads((copy / "metrics.json").read_text())
    assert "test/accuracy" in metrics and "best/test/accuracy" not in metrics
    assert "best model, of step" in caplog.text


@pytest.mark.parametrize("moment", ["validation", "drawing"])
def test_a_signal_that_comes_late_in_a_step_saves_it(
    tmp_path: pathlib.Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """SIGTERM while images are validated or samples drawn saves the step that the line names."""
    target, name = (result, "light") if moment == "validation" else (run_log.RunLog, "samples")
    real = getattr(target, name)

    def interrupted(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)  # the listener is a thread
        return real(*args)

    monkeypatch.setattr(target, name, interrupted)
    argv = runs.command(tmp_path, **LIKE_FINISHED, log__samples_every_steps=10)
    assert main.main(argv) == 128 + signal.SIGTERM
    step = 14 if moment == "validation" else 10
    assert f"saved at step {step}" in capsys.readouterr().out
    assert Checkpoints(tmp_path / "checkpoints", read_only=True).steps()[-1] == step


def test_a_retry_keeps_the_best(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going back behind the only best model does not delete it."""
    monkeypatch.setattr(divergence, "check", Trouble(17))
    argv = runs.command(tmp_path, **LIKE_FINISHED, checkpoint__every_steps=50)
    kept: list[int] = []
    real = divergence.retire_stale

    def look(checkpoints: Checkpoints, retries: Retries) -> None:
        real(checkpoints, retries)
        if retries.restarts:
            kept.extend(Checkpoints(tmp_path / "best", read_only=True).steps())

    monkeypatch.setattr(divergence, "retire_stale", look)
    assert main.main(argv) == 0
    assert kept == [14]


def test_hopeless_divergence_ends_in_one_line(tmp_path: pathlib.Path, capsys: Any) -> None:
    """A run that always diverges goes back as often as allowed, then fails with one clear line."""
    argv = runs.command(tmp_path, train__learning_rate=1e18, train__max_restarts=2)
    assert main.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out.count("diverged:") == 2
    assert captured.err.count("\n") == 1 and "the training diverges" in captured.err
    saved = runs.final_state(tmp_path)
    assert all(np.isfinite(x).all() for x in map(np.asarray, saved["params"]["conv1"].values()))


class Trouble:
    """Stands in for `divergence.check`: diverges at the given (restarts seen, step)."""

    def __init__(self, *places: int) -> None:
        self.places = list(places)
        self.check = divergence.check

    def __call__(self, first_step: int, metrics: dict[str, np.ndarray]) -> None:
        """Diverges once at each place, in turn."""
        self.check(first_step, metrics)
        end = first_step + len(metrics["px_term"])
        if self.places and end >= self.places[0]:
            place = self.places.pop(0)
            raise divergence.Diverged(f"planted at step {place}")


def test_each_retry_goes_one_further_back(
    tmp_path: pathlib.Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retries begin at the last checkpoint, then one before; K doubles; the end is reached."""
    monkeypatch.setattr(divergence, "check", Trouble(25, 24))
    argv = runs.command(tmp_path, train__on_divergence="double_steps", checkpoint__keep=10)
    assert main.main(argv) == 0
    out = capsys.readouterr().out
    assert "restart 1 of 2 from step 21 with K = 2" in out
    assert "restart 2 of 2 from step 14 with K = 4" in out
    assert runs.logged_steps(tmp_path) == list(range(1, 41))
    assert sadajem_jax.load(tmp_path).num_sgld_steps == 4
    assert sadajem_jax.load(tmp_path, 7).num_sgld_steps == 1  # as it was trained
    kept = Checkpoints(tmp_path / "checkpoints", read_only=True)
    assert kept.notes(0)["first_spread"] == kept.notes(40)["first_spread"]


def test_kill_in_a_retry_resumes_the_retry(
    tmp_path: pathlib.Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends the process in a retry, the same command resumes that retry, K and keys."""

    class Killed(BaseException):
        pass

    def killed(*args: Any) -> None:
        raise Killed

    argv = runs.command(tmp_path, train__on_divergence="double_steps")
    monkeypatch.setattr(divergence, "check", Trouble(25))
    monkeypatch.setattr(divergence, "retire_stale", Counter(killed, at=2))
    with pytest.raises(Killed):
        main.main(argv)  # the count is written, the stale checkpoints are still there
    monkeypatch.undo()
    assert restarts.read(tmp_path, 1) == Retries(1, 2, 21)
    assert main.main(argv) == 0
    assert restarts.read(tmp_path, 1) == Retries(1, 2, 21)
    assert "going on from the checkpoint of step 21" in capsys.readouterr().out


class Counter:
    """Calls the real `retire_stale`, and at the given call something else."""

    def __init__(self, other: Any, at: int) -> None:
        self.other, self.at, self.calls = other, at, 0
        self.real = divergence.retire_stale

    def __call__(self, *args: Any) -> None:
        """Counts."""
        self.calls += 1
        (self.other if self.calls == self.at else self.real)(*args)
