"""--mode=eval on small runs: what it writes, what it does not do twice, and what it cannot do."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
from sadajem_jax.cli import config as config_files
from sadajem_jax.cli import main as cli
from sadajem_jax.console import progress as progress_lines
from sadajem_jax.console.errors import UserError
from sadajem_jax.data import loading
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import curves, evaluate
from sadajem_jax.training import experiment
from sadajem_jax.workdir import records
from tests import models

LOG = [{"step": i, "epoch": i / 10, "accuracy": 0.5, "cross_entropy": 1.0} for i in (1, 2, 3)]
QUICK = ("accuracy", "calibration", "ood", "curves")


def run(workdir: pathlib.Path, **overrides: Any) -> int:
    """Calls --mode=eval; all parts but the samples by default."""
    fields = {"eval.only": ",".join(QUICK), "eval.ood": "inverted_digits,uniform_noise"}
    fields |= {name.replace("__", "."): value for name, value in overrides.items()}
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    return main.main(["--mode=eval", f"--workdir={workdir}", *flags])


def read(workdir: pathlib.Path, name: str) -> dict[str, Any]:
    """A JSON file of W."""
    return json.loads((workdir / name).read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run's folder, never evaluated."""
    workdir = tmp_path_factory.mktemp("trained")
    models.make_run(workdir, steps=(10, 20), train__ema_decay=0.9)
    (workdir / "train_metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in LOG))
    return workdir


@pytest.fixture(scope="module")
def evaluated(
    trained: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[pathlib.Path]:
    """The same, evaluated."""
    workdir = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(trained, workdir)
    assert run(workdir) == 0
    yield workdir


@pytest.fixture
def fresh(evaluated: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the evaluated run that a test may change."""
    shutil.copytree(evaluated, tmp_path / "run")
    return tmp_path / "run"


def test_every_number_has_its_checkpoint_and_settings(evaluated: pathlib.Path) -> None:
    """Each name of metrics.json stands in the provenance with step, checkpoint and settings."""
    metrics, provenance = (
        read(evaluated, "metrics.json"),
        read(evaluated, "metrics_provenance.json"),
    )
    expected = {"test/accuracy", "test/nll", "calibration/ece", "ood/uniform_noise/max_prob/auroc"}
    assert expected <= set(metrics) == set(provenance)
    assert all(value >= 0 for name, value in metrics.items() if "approx" not in name)
    for source in provenance.values():
        assert source["step"] == 20 and source["checkpoint"] == "last" and source["checksum"]
        assert source["settings"]["data"] == "digits"
    assert provenance["calibration/ece"]["settings"]["num_bins"] == 20
    assert "half of the test images" in " ".join(provenance["calibration/ece"]["notes"])


def test_accuracy_is_that_of_the_network(evaluated: pathlib.Path) -> None:
    """test/accuracy and test/nll are what the restored network gives on the whole test set."""
    config = cli.run_config(evaluated, {})
    subject = evaluate.restore(config, evaluated)
    test = loading.load(get_spec("digits"), "test")
    logits = np.asarray(
        subject.network.apply(subject.model.variables, jnp.asarray(test.images) / 127.5 - 1)
    )
    right = logits.argmax(axis=-1) == test.labels
    metrics = read(evaluated, "metrics.json")
    assert metrics["test/accuracy"] == pytest.approx(right.mean(), abs=1e-9)
    nll = -jax.nn.log_softmax(logits)[np.arange(len(right)), test.labels].mean()
    assert metrics["test/nll"] == pytest.approx(float(nll), rel=1e-5)


def test_figures_come_with_their_arrays(evaluated: pathlib.Path) -> None:
    """Beside every picture lies an .npz of what it shows; the page holds all pictures."""
    pieces = read(evaluated, "evaluation.json")
    shown = [figure["file"] for record in pieces.values() for figure in record["figures"]]
    assert len(shown) == 4  # reliability, two sets, learning curves
    for name in shown:
        assert (evaluated / name).read_bytes().startswith(b"\x89PNG")
        assert np.load((evaluated / name).with_suffix(".npz")).files
    page = (evaluated / "report" / "index.html").read_text()
    assert page.count("<img") == 4


def test_nothing_is_done_twice(fresh: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command again changes no result, and says so; eval.force does all again."""
    before = read(fresh, "evaluation.json")
    assert run(fresh) == 0
    assert read(fresh, "evaluation.json") == before
    assert capsys.readouterr().out.count("done before") == len(before) == 5
    assert run(fresh, eval__only="accuracy", eval__force="True") == 0
    assert "done before" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "again"),
    [
        ({"eval__num_bins": 15}, {"calibration"}),
        ({"eval__checkpoint": "10"}, {"accuracy", "calibration", "ood/inverted_digits", "curves"}),
    ],
)
def test_other_settings_or_another_checkpoint_are_done(
    fresh: pathlib.Path, overrides: dict[str, Any], again: set[str]
) -> None:
    """What depends on a changed setting, or on the checkpoint, is done again, and only that."""
    before = read(fresh, "evaluation.json")
    assert run(fresh, eval__ood="inverted_digits", **overrides) == 0
    after = read(fresh, "evaluation.json")
    assert {name for name in after if after[name] != before[name]} == again


def test_numbers_that_another_wrote_are_not_taken_for_ours(fresh: pathlib.Path) -> None:
    """After merge_metrics without a source the part is done again, as nothing vouches for them."""
    records.merge_metrics(fresh, {"test/accuracy": 0.123})
    assert "test/accuracy" not in read(fresh, "metrics_provenance.json")
    assert run(fresh, eval__only="accuracy") == 0
    assert read(fresh, "metrics.json")["test/accuracy"] != 0.123


def test_what_cannot_be_done_is_stated_and_the_rest_goes_on(
    fresh: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A set that has gone leaves no old number, one line says why, and the next set is scored."""
    np.savez(fresh / "faces.npz", images=np.zeros((9, 8, 8, 1), np.uint8))
    assert run(fresh, eval__only="ood", eval__ood=f"{fresh}/faces.npz") == 0
    assert "ood/faces/log_density/auroc" in read(fresh, "metrics.json")
    (fresh / "faces.npz").unlink()
    sets = f"{fresh}/faces.npz,photographs"
    assert run(fresh, eval__only="ood", eval__ood=sets, eval__force="True") == 0
    assert "ood/faces: not computed, because" in capsys.readouterr().out
    metrics, provenance = read(fresh, "metrics.json"), read(fresh, "metrics_provenance.json")
    assert not any("faces" in name for name in [*metrics, *provenance])
    assert "ood/photographs/log_density/auroc" in metrics
    assert "not computed, because" in (fresh / "report" / "index.html").read_text()


def test_a_fault_in_one_part_does_not_stop_the_others(
    fresh: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is recorded, the other parts are done, and the exit status is 1."""

    def fail(*_: Any, **__: Any) -> float:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(evaluate.Calibration, "__call__", fail)
    assert run(fresh, eval__force="True", eval__only="calibration,curves") == 1
    pieces = read(fresh, "evaluation.json")
    assert pieces["calibration"]["not_computed"] == "it failed: ZeroDivisionError: a fault"
    assert "calibration/ece" not in read(fresh, "metrics.json")
    assert "not_computed" not in pieces["curves"]


def test_a_value_that_is_no_number_is_not_written(
    fresh: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NaN makes a piece "not computed": metrics.json stays JSON that all can read."""
    nothing = lambda *_, **__: iter([("calibration/ece", float("nan"))])  # noqa: E731
    monkeypatch.setattr(evaluate.Calibration, "__call__", nothing)
    assert run(fresh, eval__force="True", eval__only="calibration") == 0
    assert "calibration/ece is nan" in read(fresh, "evaluation.json")["calibration"]["not_computed"]
    assert "NaN" not in (fresh / "metrics.json").read_text()


def test_the_averages_numbers_stand_beside_the_last_ones(fresh: pathlib.Path) -> None:
    """eval.checkpoint=ema writes under ema/ and leaves the last model's numbers as they are."""
    before = read(fresh, "metrics.json")
    assert run(fresh, eval__checkpoint="ema", eval__only="accuracy") == 0
    after = read(fresh, "metrics.json")
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"ema/test/accuracy", "ema/test/nll"}


def test_an_older_runs_config_is_filled_up(fresh: pathlib.Path) -> None:
    """Fields of `eval` that a run's config.json lacks are the shipped config's."""
    config = read(fresh, "config.json")
    config["eval"] = {"batch_size": 7}
    (fresh / "config.json").write_text(json.dumps(config))
    found = cli.run_config(fresh, {"eval.only": "accuracy"})
    shipped = config_files.load("configs/digits.py")
    assert (found.eval.batch_size, found.eval.only) == (7, "accuracy")
    assert found.eval.ood == shipped.eval.ood and found.model.width == 1


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        ({"model__width": 2}, "config.model.width belongs to the training"),
        ({"eval__only": "acuracy"}, r"found 'acuracy' \(did you mean accuracy\?\)"),
        ({"eval__ood": "photograps"}, r"'photograps' \(did you mean photographs\?\)"),
        ({"eval__ood": "a/b.npz,c/b"}, "lists b twice"),
        ({"eval__checkpoint": "15"}, "15"),
        ({"eval__checkpoint": "best"}, "best"),
    ],
)
def test_mistakes_are_one_line(
    trained: pathlib.Path,
    flags: dict[str, Any],
    match: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What the user can mend is told in one line, and nothing is written."""
    assert run(trained, **flags) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    with pytest.raises(UserError, match=match):
        raise UserError(line)
    assert not (trained / "metrics.json").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: pathlib.Path) -> None:
    """Without a config.json, or with one that is none, there is nothing to evaluate."""
    assert run(tmp_path / "nowhere") == 2
    assert not (tmp_path / "nowhere").exists()
    for text in ("{", "{}", "[]"):
        (tmp_path / "config.json").write_text(text)
        assert run(tmp_path) == 2


def test_evaluation_is_in_float32(tmp_path: pathlib.Path) -> None:
    """A model trained in bfloat16 is evaluated in float32."""
    models.make_run(tmp_path, model__dtype="bfloat16")
    subject = evaluate.restore(cli.run_config(tmp_path, {}), tmp_path)
    assert subject.network.dtype == jnp.float32


def test_light_is_compiled_once_and_looks_at_the_held_out_images() -> None:
    """Numbers are val/* where images are held out; a second call makes no other program."""
    config = models.settings(data__val_size=100)
    network = experiment.network(config)
    state = experiment.build(config, loading.load(get_spec("digits"), "train")).initial_state()
    found = evaluate.light(config, network, state)
    assert set(found) == {"val/accuracy", "val/nll"} and 0 <= found["val/accuracy"] <= 1
    made = evaluate._accuracy_of.cache_info().misses
    assert evaluate.light(config, network, state) == found
    assert evaluate._accuracy_of.cache_info().misses == made
    config = models.settings()
    assert evaluate.light(config, network, state) == evaluate.test_metrics(config, network, state)


def test_progress_counts_all_passes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images of every pass are counted; the rate leaves the first batch, which compiles, out."""
    clock = iter([0.0, 100.0, 101.0, 102.0, 103.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    progress = progress_lines.Progress("ood/x")
    for done, total in ((10, 10), (20, 60), (40, 60), (60, 60)):
        progress(done, total)
    assert progress.images == 70 and progress.rate == 20
    assert capsys.readouterr().out == "ood/x: 10 of 10\n"


def test_curves_need_a_log(fresh: pathlib.Path) -> None:
    """A run without a log has no curves, and the reason says so."""
    (fresh / "train_metrics.jsonl").unlink()
    assert curves.read_log(fresh / "train_metrics.jsonl") == []
    assert run(fresh, eval__only="curves") == 0
    assert "no line yet" in read(fresh, "evaluation.json")["curves"]["not_computed"]
