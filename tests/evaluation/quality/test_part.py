"""Sample quality in --mode=eval: what is judged by which network, under which names, and when."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import main
import sadajem_jax
from sadajem_jax.cli import plan_evaluation
from sadajem_jax.console.errors import UserError
from sadajem_jax.data import loading
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import flops, options
from sadajem_jax.evaluation.quality import (
    archive,
    classifier,
    effort,
    extractors,
    inception,
    part,
    protocols,
)
from sadajem_jax.evaluation.quality.extractor import Extractor
from sadajem_jax.evaluation.quality.judging import judge
from sadajem_jax.inference import pictures
from sadajem_jax.workdir import settings as run_settings
from tests import models, places
from tests.evaluation.quality import drawn

FOLDERS = ("run", "W2")
FRESH = 12


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """A folder with a run, another classifier W2, images of their shape and a cache."""
    home = tmp_path_factory.mktemp("quality")
    for seed, name in enumerate(FOLDERS):
        models.make_run(home / name, steps=(10,), seed=seed, buffer__size=400)
    images = loading.load(get_spec("digits"), "test").images
    np.savez(home / "some.npz", images=images[:10])
    np.savez(home / "few.npz", images=images[:5])
    (home / "weights.pickle").write_bytes(b"a pickle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SADAJEM_CACHE_DIR", str(home / "cache"))
        yield home


def evaluate(home: pathlib.Path, **overrides: Any) -> int:
    """--mode=eval of this part alone on the run; a field's paths may begin with HOME."""
    fields = {"only": "quality", "fresh_images": FRESH} | overrides
    flags = [f"--config.eval.{name}={value}" for name, value in fields.items()]
    flags = [flag.replace("HOME", str(home)) for flag in flags]
    return main.main(["--mode=eval", f"--workdir={home / 'run'}", *flags])


def read(home: pathlib.Path, name: str) -> dict[str, Any]:
    """A JSON file of the run."""
    return json.loads((home / "run" / name).read_text())


def test_each_set_before_each_network_is_a_piece(
    home: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers are those of the library on the same images; a second call does nothing again."""
    asked = {"images": "buffer,fresh", "features": "HOME/W2"}
    assert evaluate(home, **asked) == 0
    model, other = (sadajem_jax.load(home / name) for name in FOLDERS)
    network = classifier.extractor(other.network, other.variables, batch_size=part.CPU_BATCH)
    expected = judge(model.buffer, network, model.training_images.images)
    found = read(home, "metrics.json")
    for name, value in protocols.plain(expected, "samples/by_W2"):
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-9), name
    assert found["samples/fresh/by_W2/images"] == FRESH
    assert found["samples/fresh/by_W2/frechet"] > 0
    for name in ("quality_W2", "quality_W2_fresh"):
        assert (home / "run" / "figures" / f"{name}.png").exists()
    (kept,) = (home / "cache").glob("W2-*.npz")
    written = kept.stat().st_mtime_ns
    capsys.readouterr()
    assert evaluate(home, **asked) == 0
    assert capsys.readouterr().out.count("done before") == 2
    assert evaluate(home, **asked | {"images": "fresh"}, force=True) == 0
    assert kept.stat().st_mtime_ns == written  # the reference is read, not made anew


def test_a_classifier_s_buffer_is_said_to_be_its_starts(home: pathlib.Path) -> None:
    """A note tells the buffer of a run without chains from one that a model has worked on."""
    models.make_run(home / "plain", steps=(10,), buffer__size=400, objective__px_weight=0.0)
    for name, is_said in (("run", False), ("plain", True)):
        flags = ["--config.eval.only=quality", f"--config.eval.features={home / 'W2'}"]
        assert main.main(["--mode=eval", f"--workdir={home / name}", *flags]) == 0
        pieces = json.loads((home / name / "evaluation.json").read_text())
        assert any("ran no chains" in x for x in pieces["quality/W2"]["notes"]) == is_said


def test_without_weights_one_line_says_where_they_are_had(home: pathlib.Path) -> None:
    """Inception is not computed, and the network beside it is."""
    assert evaluate(home, features="HOME/W2") == 0
    pieces = read(home, "evaluation.json")
    why = pieces["quality/inception"]["not_computed"]
    words = ("pt_inception-2015-12-05", "91 MB", "mseitzer/pytorch-fid", "--config.eval.inception")
    assert "\n" not in why and all(word in why for word in words)
    assert "not_computed" not in pieces["quality/W2"]


@pytest.mark.parametrize(
    ("overrides", "piece", "line"),
    [
        ({"inception": "HOME/weights.pickle"}, "inception", "weights.pickle is a pickle"),
        ({"inception": "HOME/nowhere.pth"}, "inception", "nowhere.pth holds none"),
        ({"features": "HOME/W2", "images": "HOME/few.npz"}, "W2/few", "at least 6 images to judge"),
    ],
    ids=["pickle", "no file", "few images"],
)
def test_what_cannot_be_done_is_a_line(
    overrides: dict[str, str], piece: str, line: str, home: pathlib.Path
) -> None:
    """Refused weights or too few images are said; the status is a user's error."""
    assert evaluate(home, **overrides) in (0, 2)
    assert line in read(home, "evaluation.json")[f"quality/{piece}"]["not_computed"]


def test_a_classifier_of_other_images_is_refused(home: pathlib.Path) -> None:
    """One line names its data and shape, and the shape that was expected."""
    network = extractors.of_run(str(home / "W2"), (32, 32, 3), 10)
    with pytest.raises(UserError, match=r"images \[32, 32, 3\], found one of digits, \[8, 8, 1\]"):
        _ = network.checksum


def test_a_file_is_known_by_its_content(
    home: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other images under the same name are judged anew; the set compared with is in the name."""
    images = np.load(home / "some.npz")["images"]
    asked = {"images": "HOME/a.npz", "against": "HOME/some.npz", "features": "HOME/W2"}
    for shown in (images, images, 255 - images):
        np.savez(home / "a.npz", images=shown)
        evaluate(home, **asked)
    said = capsys.readouterr().out
    assert said.count("quality/W2/a/against_some: done before") == 1
    assert said.count("quality/W2/a/against_some: samples/a/by_W2/against_some/images") == 2
    assert read(home, "metrics.json")["samples/a/by_W2/against_some/frechet"] > 0


def fake_weights(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Extractor:
    """Pixels in Inception's place, and a file that stands for its weights."""
    (home / inception.PUBLISHED.files[0]).write_bytes(b"weights")
    made = drawn.pixels()
    monkeypatch.setattr(inception, "extractor", lambda path, batch_size: made)
    return made


def test_the_released_protocol_has_numbers_of_its_own(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the buffer and Inception alone: what the library gives for buffer, logits and real."""
    extractor = fake_weights(home, monkeypatch)
    assert evaluate(home, inception="HOME", images="fresh,buffer", features="HOME/W2") == 0
    model = sadajem_jax.load(home / "run")
    logits, train = model.logits(model.buffer), model.training_images.images
    (real,) = protocols.released_sets("digits", [train], train[:0])
    moments = part.references.of_features(extractor(real)["features"]).moments
    found = read(home, "metrics.json")
    for name, value in protocols.released(model.buffer, logits, extractor, moments):
        assert found[name] == pytest.approx(value, rel=1e-4), name
    assert found["samples/released/inception_score_images"] < 50 < found["samples/images"]
    assert [name for name in read(home, "evaluation.json") if "released" in name] == [
        "quality/inception/released"
    ]
    assert {"samples/fid", "samples/fresh/fid", "samples/fresh/inception_score"} <= set(found)


@pytest.mark.parametrize(
    "path", places.golden_files(drawn.KEY), ids=lambda p: p.stem if p else "none"
)
def test_inception_itself_judges_a_file_against_itself(
    path: pathlib.Path | None, home: pathlib.Path
) -> None:
    """The real network on drawn weights: FID 0 from itself, all images covered."""
    state = drawn.state_dict(path)
    file = home / "port" / f"{inception.PUBLISHED.files[0].removesuffix('.pth')}.npz"
    archive.write(file, state, {})
    shown = "HOME/some.npz"
    assert evaluate(home, inception="HOME/port", images=shown, against=shown) == 0
    found = read(home, "metrics.json")
    prefix = "samples/some/against_some"
    assert found[f"{prefix}/images"] == found[f"{prefix}/reference_images"] == 10
    assert abs(found[f"{prefix}/fid"]) < 1e-3 < found[f"{prefix}/inception_score"]
    assert {found[f"{prefix}/{name}"] for name in ("precision", "recall", "coverage")} == {1}


def pieces(home: pathlib.Path, **fields: Any) -> dict[str, Any]:
    """What an evaluation of such a run is made of, as --mode=plan sees it."""
    config = models.settings(buffer__size=400)
    config.eval.update(fields | {"fresh_images": FRESH})
    section = options.read(config.eval.to_dict())
    asked = plan_evaluation.imagined(run_settings.flat(config.to_dict()), section)
    return {piece.name: piece for piece in part.pieces(asked)}


def test_a_cost_is_of_chains_images_and_measures(home: pathlib.Path) -> None:
    """Chains of whole groups, each image once through the network, real ones unless kept."""
    found = pieces(home, features=str(home / "W2"), images="buffer,fresh")
    assert list(found) == [
        *("quality/inception", "quality/W2"),
        *("quality/inception/fresh", "quality/W2/fresh"),
    ]
    model = sadajem_jax.load(home / "W2")
    real, each = len(model.training_images.images), flops.forward(model.network, (8, 8, 1)).flop
    for name, n, gradients in (("quality/W2", 400, 0), ("quality/W2/fresh", FRESH, 16 * 4)):
        cost = found[name].cost()
        measures = effort.of_measures(n, real, 64)
        assert cost.gradients == gradients
        assert cost.flop == pytest.approx((n + real) * each + measures.flop)
        assert cost.seconds > measures.seconds > 0
    with pytest.raises(UserError, match="the weights of the Inception network"):
        found["quality/inception"].cost()


def test_names_that_meet_are_numbered(home: pathlib.Path) -> None:
    """Two files of one name, or one that is called as a network, have pieces of their own."""
    names = ("x/a.npz", "y/a", "released.npz", "z/fresh")
    found = list(pieces(home, images=",".join(names)))
    assert found == [f"quality/inception/{name}" for name in ("a", "a_2", "released_2", "fresh_2")]


def test_the_buffer_is_judged_as_bytes(home: pathlib.Path) -> None:
    """What a piece judges is the buffer rounded to 8 bits, and the note counts it."""
    asked = plan_evaluation.imagined(
        run_settings.flat(models.settings().to_dict()),
        options.read(models.settings().eval.to_dict()),
    )
    (source,) = part.judged(asked)
    np.testing.assert_array_equal(source.images(), pictures.to_uint8(asked.model.buffer))
    assert source.note == "the 40 images of the replay buffer" and source.checksum == ""
