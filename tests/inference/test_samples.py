"""Samples, shown by the evaluation and written by --mode=sample."""

from __future__ import annotations

import csv
import io
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from sadajem_jax.cli import main as cli
from sadajem_jax.data import loading
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import nearest as nearest_images
from sadajem_jax.evaluation import samples
from sadajem_jax.inference import export, pictures, sample, sample_options
from sadajem_jax.inference.images import as_float
from sadajem_jax.inference.load import load
from sadajem_jax.inference.model import Model
from sadajem_jax.workdir.figure import COLUMNS, Figure
from tests import models

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run's folder."""
    folder = tmp_path_factory.mktemp("run")
    models.make_run(folder)
    return folder


@pytest.fixture(scope="module")
def planted() -> tuple[Model, np.ndarray]:
    """A model of known class means, a training image among its buffer's rows."""
    model, means = models.bells(sgld__step_size=0.5)
    model.buffer[17] = as_float(loading.load(get_spec("digits"), "train").images[123])
    return model, means


@pytest.fixture(scope="module")
def found(planted: tuple[Model, np.ndarray]) -> list[tuple[str, float] | Figure]:
    """What the evaluator yields for it."""
    return list(samples.evaluate(planted[0], KEY, num_steps=20))


def numbers(found: list[tuple[str, float] | Figure]) -> dict[str, float]:
    """The numbers by name."""
    return {name: value for name, value in (f for f in found if not isinstance(f, Figure))}


def figures(found: list[tuple[str, float] | Figure]) -> dict[str, Figure]:
    """The figures by name."""
    return {f.name: f for f in found if isinstance(f, Figure)}


def test_every_number_is_finite_and_every_figure_opens(
    found: list[tuple[str, float] | Figure],
) -> None:
    """Names are distinct, numbers finite, pictures readable and of the kind they say."""
    assert all(np.isfinite(value) for value in numbers(found).values())
    assert len(numbers(found)) + len(figures(found)) == len(found) == 18
    for figure in figures(found).values():
        picture = Image.open(io.BytesIO(figure.data))
        assert f".{str(picture.format).lower()}" == figure.suffix
        assert figure.arrays["images"].dtype == np.uint8 and figure.caption.endswith(".")


def test_extremes_are_extreme(
    planted: tuple[Model, np.ndarray], found: list[tuple[str, float] | Figure]
) -> None:
    """Each row holds its class alone, in order, and no image left out is more extreme."""
    model, _ = planted
    density, classes = model.log_density(model.buffer), model.predict(model.buffer)
    for end, sign in (("highest", -1), ("lowest", 1)):
        rows = figures(found)[f"samples_{end}_px"].arrays["rows"]
        for c in range(10):
            expected = np.sort(sign * density[classes == c])[: samples.PER_CLASS]
            shown = rows[c][rows[c] >= 0]
            assert (classes[shown] == c).all()
            np.testing.assert_array_equal(sign * density[shown], expected)


def test_a_class_with_too_few_images_leaves_blanks(
    found: list[tuple[str, float] | Figure],
) -> None:
    """Where a class has no further image the cell is white and its numbers are NaN."""
    arrays = figures(found)["samples_lowest_pyx"].arrays
    missing = arrays["rows"] < 0
    assert missing.any()
    assert (arrays["images"].reshape(10, 10, -1)[missing] == 255).all()
    assert np.isnan(arrays["confidence"][missing]).all()
    assert not np.isnan(arrays["confidence"][~missing]).any()


def test_log_odds_rank_confident_images_apart() -> None:
    """They are log(p / (1 - p)), and still differ where p itself rounds to 1."""
    logits = np.array([[0.0, 1.0, 0.5], [0.0, 60.0, 0.0], [0.0, 70.0, 0.0]])
    p = np.exp(logits[0]).max() / np.exp(logits[0]).sum()
    odds = samples.log_odds(logits)
    np.testing.assert_allclose(odds[0], np.log(p / (1 - p)))
    np.testing.assert_allclose(odds[1:], [60 - np.log(2), 70 - np.log(2)])


def test_conditional_chains_of_known_classes_are_classified_so(
    planted: tuple[Model, np.ndarray], found: list[tuple[str, float] | Figure]
) -> None:
    """With planted means all conditional samples have their class, a row a class."""
    assert numbers(found)["samples/conditional_accuracy"] == 1
    arrays = figures(found)["samples_conditional"].arrays
    np.testing.assert_array_equal(arrays["labels"], np.repeat(np.arange(10), 10))
    np.testing.assert_array_equal(arrays["images"], pictures.to_uint8(planted[1])[arrays["labels"]])


def test_the_film_goes_from_start_to_end(found: list[tuple[str, float] | Figure]) -> None:
    """A frame every K steps, the first the start; the animation shows them, each for its time."""
    film = figures(found)["samples_film"]
    assert film.arrays["steps"].tolist() == list(range(0, 21, 2))
    density = film.arrays["log_density"].mean(axis=1)
    assert density[-1] > density[0]
    animation: Any = Image.open(io.BytesIO(film.data))
    assert animation.info["loop"] == 0
    milliseconds = 0
    for frame in range(animation.n_frames):  # equal frames in a row are one that lasts longer
        animation.seek(frame)
        at = 10 if frame == animation.n_frames - 1 else milliseconds // 150
        expected = samples.grid(film.arrays["images"][at], 5).astype(int)
        assert np.abs(np.asarray(animation.convert("RGB")).astype(int) - expected).max() <= 2
        milliseconds += animation.info["duration"]
    assert milliseconds == 10 * 150 + 1500


def test_a_memorised_image_is_not_hidden(found: list[tuple[str, float] | Figure]) -> None:
    """A training image in the buffer is the first pair shown, at distance 0."""
    assert numbers(found)["samples/buffer_nearest_distance_min"] == 0
    arrays = figures(found)["samples_nearest"].arrays
    assert arrays["rows"][0, 0] == 123 and arrays["distances"][0, 0] == 0
    np.testing.assert_array_equal(
        arrays["images"][0], loading.load(get_spec("digits"), "train").images[123]
    )


def test_blocks_that_are_cut_apart_have_the_same_frame(
    found: list[tuple[str, float] | Figure],
) -> None:
    """On a narrow page they stand one under the other: of one width, white all around."""
    with Image.open(io.BytesIO(figures(found)["samples_nearest"].data)) as picture:
        width, pixels = picture.width, np.asarray(picture)
        cuts = [round(float(at) * width) for at in picture.info[COLUMNS].split()]
    parts = np.split(pixels, cuts, axis=1)
    assert len(parts) == 3 and len({part.shape for part in parts}) == 1
    for part in parts:
        rows, columns = np.nonzero((part != pictures.WHITE).any(axis=-1))
        assert min(rows.min(), columns.min()) >= samples.APART
        assert columns.max() < part.shape[1] - samples.APART
        assert rows.max() < len(part) - samples.APART


def test_training_images_are_nearest_to_themselves() -> None:
    """The nearest neighbour of a training image is itself, at distance 0 exactly."""
    images = loading.load(get_spec("digits"), "train").images
    rows, distances = samples.nearest(images[200:260], images, 3)
    np.testing.assert_array_equal(rows[:, 0], np.arange(200, 260))
    assert (distances[:, 0] == 0).all() and (distances[:, 1] > 0).all()


def test_nearest_is_exact_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into blocks of any size, distances are those of all pairs, ascending."""
    rng = np.random.default_rng(0)
    queries, images = (rng.integers(0, 256, (n, 4, 4, 3)).astype(np.uint8) for n in (5, 23))
    between = (queries[:, None].astype(float) - images).reshape(5, 23, -1) / 255
    expected = np.sort(np.linalg.norm(between, axis=-1), axis=1)[:, :6]
    for block in (2, 7, 1000):
        monkeypatch.setattr(nearest_images, "BLOCK", block)
        rows, distances = samples.nearest(queries, images, 6)
        np.testing.assert_allclose(distances, expected, rtol=1e-12)
        np.testing.assert_allclose(
            np.linalg.norm(between[np.arange(5)[:, None], rows], axis=-1), expected
        )


def test_all_of_it_is_told_as_one_that_only_rises(planted: tuple[Model, np.ndarray]) -> None:
    """Densities, both kinds of new chains, the film and the comparisons rise to one end."""
    told: list[tuple[int, int]] = []
    list(samples.evaluate(planted[0], KEY, num_steps=4, progress=lambda *at: told.append(at)))
    done, (total,) = [at[0] for at in told], {at[1] for at in told}
    assert done == sorted(set(done)) and done[-1] == total
    ends = np.cumsum(list(samples.sizes(planted[0], 4).values()))
    assert set(np.round(ends).astype(int).tolist()) <= set(done)


def test_class_conditional_chains_are_shown_and_measured_by_their_classes() -> None:
    """New images and the film end at the means of classes in turns; densities are f(x)[y]."""
    model, means = models.bells(
        objective__class_conditional=True, sgld__init="uniform", sgld__step_size=0.5
    )
    model.buffer[:] = means[np.arange(len(model.buffer)) % 10]
    found = list(samples.evaluate(model, KEY, num_steps=30))
    shown = figures(found)
    np.testing.assert_array_equal(
        shown["samples_fresh"].arrays["images"], pictures.to_uint8(means)[np.arange(100) % 10]
    )
    film = shown["samples_film"].arrays
    np.testing.assert_array_equal(film["images"][-1], pictures.to_uint8(means)[: model.group_size])
    for name in ("buffer", "fresh", "conditional"):
        np.testing.assert_allclose(numbers(found)[f"samples/{name}_log_density"], 0, atol=1e-2)
    real, labels = loading.load(get_spec("digits"), "train")
    away = np.square(as_float(real) - means[labels]).sum(axis=(1, 2, 3)) / 2
    of_real = numbers(found)["samples/training_log_density"]  # of 1,000 of them
    np.testing.assert_allclose(of_real, -away.mean(), rtol=0.03)
    assert "classes in turns" in shown["samples_fresh"].caption


def test_class_conditional_images_are_written_with_their_classes() -> None:
    """--mode=sample writes the classes that slots and new chains have, and that were asked for."""
    model, _ = models.bells(objective__class_conditional=True, sgld__init="uniform")
    options = sample_options.Options("fresh", 12, pathlib.Path())
    np.testing.assert_array_equal(sample.of_buffer(model, options)[1], np.arange(12) % 10)
    np.testing.assert_array_equal(sample.fresh(model, options)[1], np.arange(12) % 10)
    asked = sample.fresh(model, options._replace(label="3"))
    np.testing.assert_array_equal(asked[1], [3] * 12)


# --mode=sample


def run(workdir: pathlib.Path, *flags: str) -> int:
    """The exit status of main."""
    return cli.run(["--mode=sample", f"--workdir={workdir}", *flags])


def test_the_buffer_is_exported(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Its first n rows as bytes, each with the class that the classifier sees in these bytes."""
    out = tmp_path / "new" / "x.npz"
    assert run(workdir, "--source=buffer", "--n=9", f"--out={out}") == 0
    model, written = load(workdir), np.load(out)
    np.testing.assert_array_equal(written["images"], pictures.to_uint8(model.buffer[:9]))
    np.testing.assert_array_equal(written["labels"], model.predict(written["images"]))
    whole = tmp_path / "whole.npz"
    assert run(workdir, f"--out={whole}") == 0
    assert np.load(whole)["images"].shape == (40, 8, 8, 1)


def test_fresh_images_are_exported(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """New images carry the class asked for, in turns for "each", else the one seen in them."""
    for flag, expected in (("--label=each", [0, 1, 2]), ("--label=7", [7, 7, 7]), ("", None)):
        out = tmp_path / f"x{flag}.npz"
        flags = ["--source=fresh", "--n=3", f"--out={out}", *([flag] if flag else [])]
        assert run(workdir, *flags) == 0
        written = np.load(out)
        assert written["images"].dtype == np.uint8 and written["images"].shape == (3, 8, 8, 1)
        labels = load(workdir).predict(written["images"]) if expected is None else expected
        np.testing.assert_array_equal(written["labels"], labels)


def test_chains_repeat_with_their_seed_and_differ_with_another(
    workdir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """--seed names the draw, by default the run's; --num_steps=0 leaves chains at their start."""
    drawn = []
    for i, flags in enumerate((["--seed=0"], [], ["--seed=1"], ["--seed=1", "--num_steps=0"])):
        out = tmp_path / f"{i}.npz"
        assert run(workdir, "--source=fresh", "--n=2", f"--out={out}", *flags) == 0
        drawn.append(np.load(out)["images"].tobytes())
    assert drawn[0] == drawn[1] and len(set(drawn)) == 3


def test_images_of_the_user_s_are_refined(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Chains from a file or a folder: of no step they end in its images, in order; steps move."""
    given = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "given.npz", images=given)
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(given):
        Image.fromarray(image[..., 0]).save(tmp_path / "folder" / f"{i}.png")

    def refined(source: str, steps: int) -> np.ndarray:
        out = tmp_path / f"{steps}_of_{pathlib.Path(source).stem}.npz"
        flags = [f"--refine_from={tmp_path / source}", f"--num_steps={steps}", f"--out={out}"]
        assert run(workdir, *flags) == 0
        return np.load(out)["images"]

    np.testing.assert_array_equal(refined("given.npz", 0), given)
    np.testing.assert_array_equal(refined("folder", 0), given)
    assert (refined("given.npz", 3) != given).any()


def test_a_folder_of_pictures(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """One PNG an image and labels.csv, equal to the .npz file's; beside that a grid of them."""
    out, file = tmp_path / "folder", tmp_path / "x.npz"
    assert run(workdir, "--n=9", f"--out={out}") == run(workdir, "--n=9", f"--out={file}") == 0
    expected = np.load(file)
    with open(out / "labels.csv", newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for row, image, label in zip(rows, expected["images"], expected["labels"], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(out / row["file"])), image[..., 0])
        assert row["label"] == row["class"] == str(label)
    assert len(list(out.iterdir())) == 10
    grid = pictures.grid(expected["images"], scale=8)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "x.png")), grid)


def test_sampling_may_name_where_the_data_is(
    workdir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config.data.data_dir reaches the reading of the training images."""
    asked: list[str | None] = []
    real = loading.load

    def read(spec: Any, split: str, data_dir: str | None) -> Any:
        asked.append(data_dir)
        return real(spec, split)

    monkeypatch.setattr(loading, "load", read)
    flags = ["--source=fresh", "--n=1", "--config.data.data_dir=sets"]
    assert run(workdir, *flags, f"--out={tmp_path / 'x.npz'}") == 0
    assert asked == ["sets"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--n=0"], "--n must be a whole number, at least 1, found '0'"),
        (["--n=many"], "found 'many'"),
        (["--n=-3"], "found '-3'"),
        (["--n=41"], "--n must be at most 40"),
        (["--source=bufer"], "--source must be buffer or fresh, found 'bufer'"),
        (["--label=3"], "--label is of new chains: it needs --source=fresh"),
        (["--seed=3"], "--seed is of new chains"),
        (["--source=fresh", "--seed=x"], "--seed must be a whole number, at least 0, found 'x'"),
        (["--source=fresh", "--num_steps=-1"], "--num_steps must be a whole number, at least 0"),
        (["--source=fresh", "--refine_from=x.npz"], "leave out --source=fresh"),
        (["--refine_from=none.npz"], "found nothing of that name"),
        (["--source=fresh", "--label=12"], "a number from 0 to 9"),
        (["--out=x.png"], "ends in .npz, or a new or empty folder, found 'x.png'"),
        (["--out=tests"], "--out=tests is there, and nothing is written over"),
        (["--out="], "ends in .npz"),
        (["--out=/dev/null/x.npz"], "--out=/dev/null/x.npz cannot be written"),
        (["--config.sgld.num_steps=3"], "--config.sgld.num_steps has no place"),
        (["--config.eval.checkpoint=9"], "a step of 0, found '9'"),
    ],
)
def test_nonsense_is_one_line(
    workdir: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    words: str,
) -> None:
    """A flag that makes no sense ends in exit status 2, one line, and no file.

    It is seen before the model is loaded, but for a checkpoint that is not there.
    """
    out = [] if flags[0].startswith("--out") else [f"--out={tmp_path / 'x.npz'}"]
    assert run(workdir, *flags, *out) == 2
    said = capsys.readouterr()
    error = said.err.strip().splitlines()[-1]
    assert error.startswith("error: ") and words in error
    assert list(tmp_path.iterdir()) == []
    assert ("loading" in said.out) == ("eval.checkpoint" in flags[0])


def test_what_came_to_be_there_meanwhile_is_kept(tmp_path: pathlib.Path) -> None:
    """Of two commands that write to one name at once the later takes another: no image is lost."""
    images, labels = np.zeros((2, 8, 8, 1), np.uint8), np.arange(2, dtype=np.int32)
    for out, second in (("x.npz", "x_2.npz"), ("folder", "folder_2")):
        for brightness in (0, 200, 100):
            said = export.write(tmp_path / out, images + np.uint8(brightness), labels, ("a", "b"))
        assert (tmp_path / second).exists() and "_3" in said
    assert np.load(tmp_path / "x.npz")["images"].max() == 0
    assert np.load(tmp_path / "x_2.npz")["images"].max() == 200
    assert len(list((tmp_path / "folder").iterdir())) == 3  # two images and their labels


def test_what_is_there_is_not_written_over(
    workdir: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a file nor its picture, nor a folder that holds something; an empty one is taken."""
    (tmp_path / "empty").mkdir()
    for name, there in (("x.npz", "x.npz"), ("y.npz", "y.png"), ("folder", "folder/mine.txt")):
        mine = tmp_path / there
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("mine")
        assert run(workdir, "--n=1", f"--out={tmp_path / name}") == 2
        said = capsys.readouterr()
        assert "is there, and nothing is written over" in said.err and "loading" not in said.out
        assert mine.read_text() == "mine"
    assert not (tmp_path / "y.npz").exists() and len(list((tmp_path / "folder").iterdir())) == 1
    assert run(workdir, "--n=1", f"--out={tmp_path / 'empty'}") == 0


def test_flags_of_sampling_are_refused_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    """--n with another mode is a mistake that is said, not overlooked."""
    assert cli.run(["--config=configs/digits.py", "--n=5"]) == 2
    assert "--n belongs to --mode=sample" in capsys.readouterr().err
    assert cli.run(["--mode=sample", "--out=x.npz"]) == 2
    assert "needs --workdir" in capsys.readouterr().err
