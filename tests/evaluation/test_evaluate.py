"""--mode=eval on small runs: what it writes, what it does not do twice, and what it cannot do."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import main
import sadajem_jax
from sadajem_jax import augment
from sadajem_jax.cli import config as config_files
from sadajem_jax.cli import main as cli
from sadajem_jax.console.errors import UserError
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import accuracy, calibration, ood, ood_sets, parts, passes
from sadajem_jax.evaluation.costs import Cost, Speeds
from sadajem_jax.evaluation.parts import Piece
from sadajem_jax.evaluation.passes import Passes
from sadajem_jax.evaluation.predictions import Allowance
from sadajem_jax.evaluation.running import Outcome, Runner
from sadajem_jax.inference import scoring
from sadajem_jax.inference.scoring import Outputs
from sadajem_jax.wide_resnet import WideResNet
from sadajem_jax.workdir import files, records
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


def test_pieces_are_asked_for_by_name(trained: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A piece alone is done, and the page says that its part's others were not asked for."""
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    assert run(workdir, eval__only="ood/uniform_noise") == 0
    assert records.read_pieces(workdir).keys() == {"ood/uniform_noise"}
    page = (workdir / "report" / "index.html").read_text()
    not_asked = page.partition("Not computed</h2>")[2].partition("not asked for")[0]
    assert "<b>ood/inverted_digits</b>" in not_asked and "<b>accuracy</b>" in not_asked
    assert "<b>ood</b>" not in not_asked


def test_a_name_of_no_piece_is_refused_with_those_there_are(
    trained: pathlib.Path, capsys: Any
) -> None:
    """A piece that the part does not have is one line, which lists its pieces."""
    assert run(trained, eval__only="accuracy,ood/svhn_cropped") == 2
    said = capsys.readouterr().err
    assert "'ood/svhn_cropped'; ood is made of ood/inverted_digits, ood/uniform_noise" in said


def test_accuracy_is_that_of_the_network(evaluated: pathlib.Path) -> None:
    """test/accuracy and test/nll are what the restored network gives on the whole test set."""
    model = sadajem_jax.load(evaluated)
    test = loading.load(get_spec("digits"), "test")
    x = jnp.asarray(test.images) / 127.5 - 1
    logits = np.asarray(model.network.apply(model.variables, x))
    right = logits.argmax(axis=-1) == test.labels
    metrics = read(evaluated, "metrics.json")
    assert metrics["test/accuracy"] == pytest.approx(right.mean(), abs=1e-9)
    nll = -jax.nn.log_softmax(logits)[np.arange(len(right)), test.labels].mean()
    assert metrics["test/nll"] == pytest.approx(float(nll), rel=1e-5)


def test_figures_come_with_their_arrays(evaluated: pathlib.Path) -> None:
    """Beside every picture lies an .npz of what it shows; the page holds all pictures."""
    pieces = records.read_pieces(evaluated)
    shown = [figure["file"] for record in pieces.values() for figure in record["figures"]]
    assert len(shown) == 4  # reliability, two sets, learning curves
    for name in shown:
        assert (evaluated / name).read_bytes().startswith(b"\x89PNG")
        assert np.load((evaluated / name).with_suffix(".npz")).files
    page = (evaluated / "report" / "index.html").read_text()
    assert page.count("<figure") == 4


def test_nothing_is_done_twice(fresh: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command again changes no result, and says so; eval.force does all again."""
    before = read(fresh, "evaluation.json")
    assert run(fresh) == 0
    assert read(fresh, "evaluation.json") == before
    assert capsys.readouterr().out.count("done before") == 5
    assert run(fresh, eval__only="accuracy", eval__force="True") == 0
    assert "done before" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "again"),
    [
        ({"eval__num_bins": 15}, {"calibration"}),
        (
            {"eval__checkpoint": "10"},
            {f"step_10/{name}" for name in (*QUICK[:2], "ood/inverted_digits", "curves")},
        ),
    ],
)
def test_other_settings_or_another_checkpoint_are_done(
    fresh: pathlib.Path, overrides: dict[str, Any], again: set[str]
) -> None:
    """What depends on a changed setting, or on the checkpoint, is done again, and only that."""
    before = read(fresh, "evaluation.json")
    assert run(fresh, eval__ood="inverted_digits", **overrides) == 0
    after = read(fresh, "evaluation.json")
    assert {name for name in after if after[name] != before.get(name)} == again


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
    assert run(fresh, eval__only="ood", eval__ood="photographs") == 0  # faces is not asked for now
    assert "faces" not in (fresh / "report" / "index.html").read_text()


def test_a_fault_in_one_part_does_not_stop_the_others(
    fresh: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error is recorded, the other parts are done, and the exit status is 1."""

    def fail(*_: Any, **__: Any) -> float:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(calibration, "from_logits", fail)
    assert run(fresh, eval__force="True", eval__only="calibration,curves") == 1
    pieces = read(fresh, "evaluation.json")
    assert pieces["calibration"]["not_computed"] == "it failed: ZeroDivisionError: a fault"
    assert "calibration/ece" not in read(fresh, "metrics.json")
    assert "not_computed" not in pieces["curves"]


def test_what_takes_above_an_hour_is_done_only_if_named(fresh: pathlib.Path) -> None:
    """A part predicted above an hour is "not computed", with the hours; named, it is done."""
    model = sadajem_jax.load(fresh)
    speeds = Speeds(model.network, model.variables, model.image_shape, 50)
    long = 2 * 3600 / speeds.seconds(Cost(gradients=1))
    piece = Piece(
        "attack/all", {}, lambda _: iter([("attack/x", 0.5)]), cost=lambda: Cost(gradients=long)
    )
    quick, other = (Piece(name, {}, lambda _: iter([])) for name in ("attack/quick", "short"))
    outcomes = [
        Runner(fresh, model, force=True, allowance=Allowance(named, speeds)).run([piece, quick])[0]
        for named in ((), ("attack",))
    ]
    assert outcomes == [Outcome.NOT_COMPUTED, Outcome.THERE]
    assert read(fresh, "metrics.json")["attack/x"] == 0.5
    Runner(fresh, model, force=True, allowance=Allowance((), speeds)).run([piece, quick, other])
    pieces = read(fresh, "evaluation.json")
    for name in ("attack/all", "attack/quick"):  # one part
        why = pieces[name]["not_computed"]
        assert why == "attack takes about 2 h 00 min here; --config.eval.only=attack does it"
    assert "not_computed" not in pieces["short"]


def test_a_value_that_is_no_number_is_not_written(
    fresh: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NaN makes a piece "not computed": metrics.json stays JSON that all can read."""
    nothing = lambda *_, **__: iter([("calibration/ece", float("nan"))])  # noqa: E731
    monkeypatch.setattr(calibration, "from_logits", nothing)
    assert run(fresh, eval__force="True", eval__only="calibration") == 2
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
    model, images = sadajem_jax.load(tmp_path), loading.load(get_spec("digits"), "test").images
    found = passes.outputs(model.network, model.variables, images, batch_size=99)
    exact = model.network.clone(dtype=jnp.float32)
    expected: Any = exact.apply(model.variables, augment.to_float(jnp.asarray(images)))
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-4)


def test_an_older_step_has_names_of_its_own(
    fresh: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step's numbers and figures stand beside the last's; the last by its number is the last."""
    before, pictures = read(fresh, "metrics.json"), set(os.listdir(fresh / "figures"))
    assert run(fresh, eval__checkpoint="10", eval__only="accuracy,calibration") == 0
    after = read(fresh, "metrics.json")
    assert {name: after[name] for name in before} == before
    assert {"step_10/test/accuracy", "step_10/calibration/ece"} <= set(after) - set(before)
    assert read(fresh, "metrics_provenance.json")["step_10/test/nll"]["step"] == 10
    assert set(os.listdir(fresh / "figures")) - pictures >= {"step_10_reliability.png"}
    capsys.readouterr()
    assert run(fresh, eval__checkpoint="20") == 0
    assert capsys.readouterr().out.count("done before") == 5


def test_a_piece_says_what_it_is_of(evaluated: pathlib.Path) -> None:
    """Records carry part, prefix, K, size, and of a set its label and place; parts are named."""
    assert read(evaluated, "evaluation.json")["parts"] == list(parts.NAMES)
    pieces = records.read_pieces(evaluated)
    assert "parts" not in pieces and len(pieces) == 5
    of_set, of_test = pieces["ood/uniform_noise"], pieces["calibration"]
    assert (of_set["part"], of_set["label"], of_set["order"]) == ("ood", "uniform_noise", 1)
    assert of_set["size"] == {"images": 297, "official": None}
    assert of_test["size"] == {"images": 297, "official": 297} and "label" not in of_test
    source = read(evaluated, "metrics_provenance.json")["test/nll"]
    assert (source["num_sgld_steps"], source["prefix"]) == (2, "") and source["size"]
    assert pieces["curves"]["size"] is None


def test_sets_may_be_asked_for_in_another_order(fresh: pathlib.Path) -> None:
    """The places change in the records, and no set is scored again."""
    before = records.read_pieces(fresh)
    assert run(fresh, eval__only="ood", eval__ood="uniform_noise,inverted_digits") == 0
    after = records.read_pieces(fresh)
    assert after["ood/uniform_noise"]["order"] == 0 == before["ood/inverted_digits"]["order"]
    for name in after:
        assert after[name]["finished"] == before[name]["finished"]


def test_another_set_under_the_same_name_is_scored(
    fresh: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file replaced by another is done again, the same bytes are not; one gone keeps its own."""
    path = fresh / "faces.npz"
    flags = {"eval__only": "ood", "eval__ood": str(path)}
    for value, done_before in ((0, 0), (0, 1), (200, 0)):
        np.savez(path, images=np.arange(value, value + 320, dtype=np.uint8).reshape(5, 8, 8, 1))
        assert run(fresh, **flags) == 0
        assert capsys.readouterr().out.count("done before") == done_before
    before = read(fresh, "metrics.json")
    path.unlink()
    assert run(fresh, **flags) == 0
    assert "not there to be compared" in capsys.readouterr().out
    assert read(fresh, "metrics.json") == before


def test_another_test_set_is_scored(
    fresh: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A data folder that holds other test images than before gives numbers of its own."""
    flags = {"eval__only": "accuracy,ood", "eval__ood": "uniform_noise"}
    assert run(fresh, **flags) == 0
    real = loading.load

    def fewer(*args: Any) -> loading.Images:
        return loading.Images(*(array[:100] for array in real(*args)))

    monkeypatch.setattr(loading, "load", fewer)
    capsys.readouterr()
    assert run(fresh, **flags) == 0
    assert "done before" not in capsys.readouterr().out
    assert read(fresh, "evaluation.json")["accuracy"]["size"]["images"] == 100


def test_a_set_is_read_once(fresh: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checksum and its scores come from one reading."""
    real, asked = ood_sets.load, []

    def load(name: str, *args: Any) -> Any:
        asked.append(name)
        return real(name, *args)

    monkeypatch.setattr(ood_sets, "load", load)
    assert run(fresh, eval__only="ood", eval__ood="photographs,uniform_noise") == 0
    assert sorted(asked) == ["photographs", "uniform_noise"]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("accuracy,calibration,ood", [(297, True), (297, True), (297, True)]),
        ("accuracy,calibration", [(297, False)]),
        ("ood", [(297, True), (297, True), (297, True)]),
    ],
)
def test_one_pass_over_the_test_set_serves_all(
    trained: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    only: str,
    expected: list[tuple[int, bool]],
) -> None:
    """All parts read one pass, with the gradient where detection asks for it; a set has its own."""
    shutil.copytree(trained, tmp_path / "run")
    real, made = passes.outputs, []

    def outputs(network: Any, variables: Any, images: Any, **settings: Any) -> Any:
        made.append((len(images), settings["gradient"]))
        return real(network, variables, images, **settings)

    monkeypatch.setattr(passes, "outputs", outputs)
    assert run(tmp_path / "run", eval__only=only) == 0
    assert made == expected
    made.clear()
    parts_again = ",".join(dict.fromkeys([*only.split(","), "accuracy", "calibration"]))
    done = run(tmp_path / "run", eval__only=parts_again)
    assert done == 0 and all(not gradient for _, gradient in made)  # sets are done: none is taken


def test_nothing_computed_is_exit_status_2(fresh: pathlib.Path) -> None:
    """2 where all that was asked for has a reason against it; 0 as soon as one thing is there."""
    missing = str(fresh / "nothing.npz")
    assert run(fresh, eval__only="ood", eval__ood=missing) == 2
    assert run(fresh, eval__only="ood", eval__ood=f"{missing},uniform_noise") == 0
    assert run(fresh, eval__only="accuracy,ood", eval__ood=missing) == 0


def test_a_damaged_best_model_is_one_line(
    fresh: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What W/best holds and cannot be read is said in a line, without a traceback."""
    config = read(fresh, "config.json")
    config["data"]["val_size"], config["eval"]["every_epochs"] = 100, 1
    (fresh / "config.json").write_text(json.dumps(config))
    shutil.copytree(fresh / "checkpoints", fresh / "best")
    assert run(fresh, eval__checkpoint="best") == 2
    for path in (fresh / "best").rglob("*"):
        if path.is_file():
            path.write_bytes(b"torn")
    capsys.readouterr()
    assert run(fresh, eval__checkpoint="best") == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert "keeps no readable best model" in line


@pytest.mark.parametrize("name", ["evaluation.json", "metrics.json", "metrics_provenance.json"])
def test_a_damaged_record_is_one_line(
    fresh: pathlib.Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A torn JSON file of W is named in a line, with what to do."""
    (fresh / name).write_text((fresh / name).read_text()[:40])
    assert run(fresh) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{name}: expected a JSON object" in line and "move it away" in line


def test_a_trainings_own_numbers_say_so(tmp_path: pathlib.Path) -> None:
    """Merged with a source, each number's provenance is the training, its checkpoint and step."""
    records.merge_metrics(tmp_path, {"test/nll": 1.0}, records.by_training(40))
    expected = {"part": "training", "checkpoint": "last", "step": 40}
    assert read(tmp_path, "metrics_provenance.json") == {"test/nll": expected}


def test_parts_need_a_model_alone() -> None:
    """Accuracy, calibration and detection of somebody's own model and images, without any W."""
    model, means = models.bells()
    images = np.rint((means + 1) * 127.5).astype(np.uint8)
    mine = Passes(model, lambda: Images(images, np.arange(10)), batch_size=50)
    assert dict(accuracy.from_logits(mine.on_test().logits, mine.test.labels))["test/accuracy"] == 1
    numbers = list(calibration.from_logits(mine.on_test().logits, mine.test.labels, 20))
    assert numbers[0][0] == "calibration/ece"
    inside = ood.scores(mine.on_test(gradient=True))
    outside = ood.scores(mine.on(255 - images, gradient=True))
    found = dict(item for item in ood.compare("mine", inside, outside) if len(item) == 2)
    assert 0 <= found["ood/mine/approx_mass/auroc"] <= 1


def test_a_models_scores_are_the_evaluations(evaluated: pathlib.Path) -> None:
    """`ood_score` of the same bytes is what detection takes, to the rounding of the programs."""
    model, images = sadajem_jax.load(evaluated), loading.load(get_spec("digits"), "test").images
    found = passes.outputs(
        model.network, model.variables, images, batch_size=4 * model.batch_size, gradient=True
    )
    assert np.abs(found.logits - model.logits(images)).max() < 1e-6 * np.abs(found.logits).max()
    exact = Outputs(model.logits(images))
    for kind, values in ood.scores(found).items():
        np.testing.assert_allclose(model.ood_score(images, kind), values, rtol=2e-6)
        if kind not in scoring.GRADIENT_KINDS:
            np.testing.assert_array_equal(model.ood_score(images, kind), scoring.KINDS[kind](exact))


def test_accuracy_is_compiled_once_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other images, variables and splits trace no other program; names carry the split."""
    traces: list[int] = []
    real = scoring.logits

    def traced(*args: Any) -> Any:
        traces.append(1)
        return real(*args)

    monkeypatch.setattr(scoring, "logits", traced)
    network, test = WideResNet(10, 1, 10), loading.load(get_spec("digits"), "test")
    variables = [network.init(jax.random.key(i), jnp.zeros((1, 8, 8, 1))) for i in (0, 1)]
    first = accuracy.evaluate(network, variables[0], *test, batch_size=49)
    assert set(first) == {"test/accuracy", "test/nll"} and 0 <= first["test/accuracy"] <= 1
    made = len(traces)
    found = accuracy.evaluate(
        network, variables[1], test.images[:90], test.labels[:90], batch_size=49, split="val"
    )
    assert set(found) == {"val/accuracy", "val/nll"} and found["val/nll"] != first["test/nll"]
    assert len(traces) == made >= 1


def test_curves_need_a_log(fresh: pathlib.Path) -> None:
    """A run without a log has no curves, and the reason says so."""
    (fresh / "train_metrics.jsonl").unlink()
    assert files.read_json_lines(fresh / "train_metrics.jsonl") == []
    assert run(fresh, eval__only="curves") == 2
    assert "no line yet" in read(fresh, "evaluation.json")["curves"]["not_computed"]


def test_a_damaged_log_stops_no_other_part(fresh: pathlib.Path) -> None:
    """A line of the training log that is no JSON is the curves' reason; the rest is done."""
    (fresh / "train_metrics.jsonl").write_text('{"step": 1\n{"step": 2}\n')
    assert run(fresh, eval__only="accuracy,curves", eval__force="True") == 0
    pieces = records.read_pieces(fresh)
    assert "line 1: expected JSON" in pieces["curves"]["not_computed"]
    assert "Its log cannot be read: " in (fresh / "report" / "index.html").read_text()
    assert "not_computed" not in pieces["accuracy"]


def test_accuracy_under_noise_stands_beside_the_clean_one(fresh: pathlib.Path) -> None:
    """With eval.noise_std the numbers under it come beside, as the network gives them there.

    The noise is normal, on the scale of [-1, 1], and the same at every call; the clean ones stay.
    """
    before = read(fresh, "metrics.json")
    assert run(fresh, eval__only="accuracy", eval__noise_std=0.4) == 0
    after = read(fresh, "metrics.json")
    assert {n for n in after if n not in before} == {"test/accuracy_noisy", "test/nll_noisy"}
    assert after["test/nll"] == before["test/nll"] != after["test/nll_noisy"]
    test, model = loading.load(get_spec("digits"), "test"), sadajem_jax.load(fresh)
    noised = accuracy.with_noise(test.images, 0.4) / 127.5 - 1
    noise = noised - (test.images / 127.5 - 1)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() / 0.4 - 1) < 0.02
    logits: Any = model.network.apply(model.variables, noised.astype(np.float32))
    right = np.argmax(np.asarray(logits), axis=1) == test.labels
    assert after["test/accuracy_noisy"] == pytest.approx(right.mean(), abs=0.01)
    settings = read(fresh, "metrics_provenance.json")["test/nll_noisy"]["settings"]
    assert settings["noise_std"] == 0.4
