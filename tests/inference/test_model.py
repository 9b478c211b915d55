"""The model a user holds: loading, reading images, and drawing them."""

from __future__ import annotations

import functools
import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

import sadajem_jax
from sadajem_jax import augment, energy, informative_init, sgld
from sadajem_jax.batch_norm import forward
from sadajem_jax.console.errors import UserError
from sadajem_jax.data import loading
from sadajem_jax.data.specs import get_spec
from sadajem_jax.inference import generate, pictures
from sadajem_jax.inference import model as models_module
from sadajem_jax.inference.images import as_float
from sadajem_jax.inference.model import Model
from sadajem_jax.randomness import row_keys
from sadajem_jax.workdir import records
from sadajem_jax.workdir.checkpoint import Checkpoints
from tests import models, places

KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run with checkpoints of steps 0 and 5."""
    folder = tmp_path_factory.mktemp("run")
    models.make_run(folder, (0, 5))
    return folder


@pytest.fixture(scope="module")
def model(workdir: pathlib.Path) -> Model:
    """Its model, four images a batch."""
    return sadajem_jax.load(workdir, batch_size=4)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Twenty digits, uint8."""
    return loading.load(get_spec("digits"), "test").images[::15]


def files_of(folder: pathlib.Path) -> dict[str, int]:
    """Every file and when it was written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}


# Loading


def test_load_takes_the_last_checkpoint_or_the_step_asked_for(workdir: pathlib.Path) -> None:
    """Without a word the last step's model is loaded, with a number that step's."""
    assert sadajem_jax.load(workdir).step == 5
    assert sadajem_jax.load(workdir, 0).step == 0
    assert sadajem_jax.load(str(workdir), "0").step == 0


def test_load_writes_nothing(workdir: pathlib.Path) -> None:
    """A model may be loaded beside a training: no file of the run is made, changed or deleted."""
    before = files_of(workdir)
    sadajem_jax.load(workdir)
    assert files_of(workdir) == before


@pytest.mark.parametrize("name", [3, "3", "newest", -1])
def test_load_lists_the_steps_there_are(workdir: pathlib.Path, name: str | int) -> None:
    """A checkpoint that is not there is one line with those that are."""
    with pytest.raises(UserError, match=r"a step of 0, 5, found") as found:
        sadajem_jax.load(workdir, name)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(("name", "field"), [("best", "data.val_size"), ("ema", "train.ema_decay")])
def test_load_says_what_a_missing_kind_of_model_needs(
    workdir: pathlib.Path, name: str, field: str
) -> None:
    """Where no best or averaged model was kept, the error names the field that keeps one."""
    with pytest.raises(UserError, match=field):
        sadajem_jax.load(workdir, name)


def test_load_refuses_what_is_no_run(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """No config, a torn config, no checkpoint: one line each; an older config is filled up."""
    with pytest.raises(UserError, match=r"no config\.json"):
        sadajem_jax.load(tmp_path)
    config = (workdir / "config.json").read_text()
    (tmp_path / "config.json").write_text(config[:50])
    with pytest.raises(UserError, match="no config of a run"):
        sadajem_jax.load(tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(UserError, match="no checkpoint yet"):
        sadajem_jax.load(tmp_path)
    older = {name: value for name, value in json.loads(config).items() if name != "sam"}
    (tmp_path / "config.json").write_text(json.dumps(older))
    (tmp_path / "checkpoints").symlink_to(workdir / "checkpoints")
    assert sadajem_jax.load(tmp_path).step == 5  # fields that came since get their values


def test_load_ema_takes_the_averages(tmp_path: pathlib.Path) -> None:
    """The averaged model's parameters are the averages kept in the state."""
    models.make_run(tmp_path, train__ema_decay=0.9)
    last, averaged = sadajem_jax.load(tmp_path), sadajem_jax.load(tmp_path, "ema")
    stats = [jax.tree.leaves(m.variables["batch_stats"]) for m in (last, averaged)]
    assert all((a != b).all() for a, b in zip(*stats, strict=True))  # make_run moved the last's


def test_load_knows_a_chain_doubled_after_a_divergence(
    workdir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """K is the one that the run trained with in the end."""
    for name in ("config.json", "checkpoints"):
        (tmp_path / name).symlink_to(workdir / name)
    retries = {"restarts": 1, "num_sgld_steps": 6, "start": 0}
    (tmp_path / "restarts.json").write_text(json.dumps(retries))
    assert sadajem_jax.load(workdir).length() == 4
    assert sadajem_jax.load(tmp_path).length() == 12


def test_load_runs_no_config_and_needs_no_training_code(workdir: pathlib.Path) -> None:
    """A model is had without the command line, the trainer, or a config file being imported."""
    code = (
        "import sys, sadajem_jax; sadajem_jax.load(sys.argv[1]).length(); "
        "print([m for m in sys.modules if m.startswith(('configs', 'ml_collections', "
        "'sadajem_jax.cli', 'sadajem_jax.training', 'sadajem_jax.evaluation'))])"
    )
    command = [sys.executable, "-c", code, str(workdir)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=places.ROOT)
    assert out.stdout.strip() == "[]"


def test_data_may_have_moved_since_the_training(
    workdir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training images are read where `data_dir` says, when first needed, and once."""
    real, asked = loading.load, []

    def read(spec: Any, split: str, data_dir: str | None) -> Any:
        asked.append((split, data_dir))
        return real(spec, split)

    monkeypatch.setattr(loading, "load", read)
    moved = sadajem_jax.load(workdir, data_dir="elsewhere")
    assert asked == []
    moved.sample(KEY, 1, num_steps=0)
    moved.sample(KEY, 1, num_steps=0)
    assert len(moved.training_images.labels) == 1500 and asked == [("train", "elsewhere")]


def test_a_checkpoint_deleted_meanwhile_is_one_line(
    workdir: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that goes between the listing and the reading is said to be gone."""
    shutil.copytree(workdir, tmp_path / "run")
    real = Checkpoints.read

    def read(self: Checkpoints, step: int) -> Any:
        shutil.rmtree(tmp_path / "run" / "checkpoints" / str(step))
        return real(self, step)

    monkeypatch.setattr(Checkpoints, "read", read)
    with pytest.raises(UserError, match=r"checkpoint 0 is gone.*there are 5") as found:
        sadajem_jax.load(tmp_path / "run", 0)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("field", ["train__micro_batches", "model__norm_groups"])
def test_a_group_is_what_training_normalised_together(
    field: str, tmp_path: pathlib.Path, images: np.ndarray
) -> None:
    """With micro-batches, or norm groups, a chain shares its batch norm with its part alone."""
    given: Any = {field: 2}
    models.make_run(tmp_path, **given)
    halved = sadajem_jax.load(tmp_path)
    assert halved.group_size == 4
    one, other = images[:8].copy(), images[:8].copy()
    other[-1] = 255 - other[-1]
    a, b = (halved.refine(KEY, x, 2) for x in (one, other))
    np.testing.assert_array_equal(a[:4], b[:4])
    assert np.abs(a[4:7] - b[4:7]).max() > 1e-5


# Reading images


def test_bytes_become_the_floats_of_training() -> None:
    """On the host, on the device and compiled, all 256 levels have the same bits."""
    levels = np.arange(256, dtype=np.uint8)
    expected = np.asarray(augment.to_float(jnp.asarray(levels)))
    np.testing.assert_array_equal(as_float(levels), expected)
    for given in (levels, levels.astype(np.float32)):
        np.testing.assert_array_equal(jax.jit(augment.to_float)(given), expected)
    assert expected[0] == -1 and expected[-1] == 1


def test_a_row_does_not_depend_on_its_batch(model: Model, images: np.ndarray) -> None:
    """Whatever stands beside an image, its logits and its score are the same."""
    alone = [model.logits(images[i : i + 1])[0] for i in range(6)]
    np.testing.assert_allclose(model.logits(images)[:6], alone, rtol=1e-6)
    np.testing.assert_allclose(model.logits(images[::-1])[::-1][:6], alone, rtol=1e-6)
    score = model.score(images)
    np.testing.assert_allclose(model.score(images[5:6])[0], score[5], rtol=1e-6, atol=1e-8)


def test_probabilities_are_the_softmax(model: Model, images: np.ndarray) -> None:
    """Rows sum to 1, their ratios are the logits' differences, the largest is `max_prob`."""
    found, logits = model.predict_proba(images), model.logits(images).astype(np.float64)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    ratios = np.log(found) - np.log(found[:, :1])
    np.testing.assert_allclose(ratios, logits - logits[:, :1], atol=1e-9)
    np.testing.assert_allclose(found.max(axis=1), model.ood_score(images, "max_prob"))


def test_a_model_says_what_it_is(tmp_path: pathlib.Path) -> None:
    """Network, data and step; the accuracy of this very model alone, and which one it is."""
    models.make_run(tmp_path, steps=(3, 7))
    told = repr(sadajem_jax.load(tmp_path))
    assert told == "<Model: WRN-10-1, digits, step 7>"
    records.merge_metrics(tmp_path, {"test/accuracy": 0.5}, records.by_training(7))
    assert repr(sadajem_jax.load(tmp_path)) == told[:-1] + ", test accuracy 50.00%>"
    assert repr(sadajem_jax.load(tmp_path, 3)) == "<Model: WRN-10-1, digits, step 3>"
    records.merge_metrics(tmp_path, {"step_3/test/accuracy": 0.25}, records.by_training(3, "3"))
    assert repr(sadajem_jax.load(tmp_path, 3)).endswith("step 3, test accuracy 25.00%>")
    assert sadajem_jax.load(tmp_path).test_accuracy == 0.5


def test_floats_that_look_like_0_to_1_warn(model: Model, images: np.ndarray) -> None:
    """Where no float is below 0 a warning says how they are read; zeros alone are left alone."""
    ours = as_float(images)
    with pytest.warns(UserWarning, match=r"give 2 \* x - 1"):
        model.predict((ours + 1) / 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (ours, np.zeros_like(ours), images):
            model.predict(x)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_padding_changes_nothing(model: Model, images: np.ndarray, count: int) -> None:
    """Any number of rows gives what the bare network gives for them."""
    x = images[:count]
    expected: Any = model.network.apply(model.variables, jnp.asarray(as_float(x)))
    assert model.logits(x).shape == (count, 10)
    np.testing.assert_allclose(model.logits(x), expected, rtol=1e-4, atol=1e-5)
    assert model.score(x).shape == x.shape


def test_programs_are_compiled_once(model: Model, images: np.ndarray) -> None:
    """Batches of any size, uint8 or float, share one compiled program."""
    program: Any = models_module._logits
    model.logits(images[:1])
    before = program._cache_size()
    for count in (1, 3, 7):
        model.logits(images[:count])
        model.log_density(as_float(images[:count]).astype(np.float64))
    assert program._cache_size() == before


def test_bytes_and_floats_agree(model: Model, images: np.ndarray) -> None:
    """An image as uint8, as floats of any width and as a JAX array is the same image."""
    expected = model.logits(images)
    np.testing.assert_array_equal(model.logits(as_float(images)), expected)
    np.testing.assert_allclose(model.logits(images / 127.5 - 1), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.logits(jnp.asarray(images)), expected)
    assert model.logits(np.zeros((1, 8, 8, 1), ml_dtypes.bfloat16)).shape == (1, 10)


@pytest.mark.parametrize("method", ["logits", "predict", "log_density", "score", "ood_score"])
@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (np.zeros((2, 8, 8, 1), np.int64), TypeError, "expected uint8 .* found int64"),
        (np.zeros((2, 8, 8, 1), bool), TypeError, "found bool"),
        (np.zeros((8, 8, 1)), ValueError, r"x\[None\]"),
        (np.zeros((2, 1, 8, 8)), ValueError, r"\[N, 8, 8, 1\], found \[2, 1, 8, 8\]"),
        (np.zeros((2, 32, 32, 3)), ValueError, r"found \[2, 32, 32, 3\]"),
        (np.full((2, 8, 8, 1), 255.0), ValueError, r"found 255.0 to 255.0; .*uint8"),
        (np.full((2, 8, 8, 1), -1.01), ValueError, r"\[-1, 1\], found -1.01"),
        (np.full((2, 8, 8, 1), np.nan), ValueError, "found nan"),
    ],
)
def test_what_is_no_image_is_refused(
    model: Model, method: str, x: np.ndarray, error: type[Exception], words: str
) -> None:
    """Another type, shape or range is an error that says what was expected and found."""
    with pytest.raises(error, match=words):
        getattr(model, method)(x)
    with pytest.raises(error, match=words):
        model.refine(KEY, x)


def test_classes_and_densities_are_those_of_the_logits(model: Model, images: np.ndarray) -> None:
    """The prediction is the argmax, the density the logsumexp, max_prob the highest softmax."""
    logits = model.logits(images)
    np.testing.assert_array_equal(model.predict(images), logits.argmax(axis=1))
    np.testing.assert_allclose(model.log_density(images), logsumexp(logits, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(model.ood_score(images), model.log_density(images))
    highest = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    np.testing.assert_allclose(model.ood_score(images, "max_prob"), highest, rtol=1e-12)


def test_the_score_is_the_slope_of_the_density(model: Model, images: np.ndarray) -> None:
    """Finite differences of log_density along each image's score give its norm."""
    x = as_float(images[:8]) * np.float32(0.9)
    score = model.score(x)
    norm = np.linalg.norm(score.reshape(8, -1), axis=1)
    step = np.float32(2e-3) * score / norm[:, None, None, None]
    slope = (model.log_density(x + step) - model.log_density(x - step)) / 4e-3
    np.testing.assert_allclose(slope, norm, rtol=0.02)


def test_the_score_of_a_known_density_is_exact() -> None:
    """Between Gaussians the score is the mean of (mean_y - x), weighted by p(y | x)."""
    model, means = models.bells()
    x = np.random.default_rng(2).uniform(-1, 1, (3, 8, 8, 1)).astype(np.float32)
    weights = softmax(model.logits(x), axis=1)
    expected = np.einsum("nc,chwk->nhwk", weights, means) - x
    np.testing.assert_allclose(model.score(x), expected, atol=1e-5)


def test_approximate_mass_is_each_images_own(model: Model, images: np.ndarray) -> None:
    """It is minus the norm of the image's own score, as for the image alone (the released bug)."""
    mass = model.ood_score(images[:5], "approx_mass")
    alone = [-np.linalg.norm(model.score(images[i : i + 1])) for i in range(5)]
    np.testing.assert_allclose(mass, alone, rtol=1e-5)
    assert len(np.unique(mass)) == 5


def test_an_unknown_ood_score_is_refused(model: Model, images: np.ndarray) -> None:
    """The error lists the kinds there are."""
    with pytest.raises(ValueError, match="log_density, max_prob, approx_mass, found 'energy'"):
        model.ood_score(images, "energy")


def test_a_bfloat16_network_is_read_in_float32(model: Model, images: np.ndarray) -> None:
    """Evaluation does not depend on the precision of the training."""
    config = models.settings(model__dtype="bfloat16")
    half = models.model_of(config, model.variables, model.buffer, batch_size=4)
    np.testing.assert_array_equal(half.logits(images), model.logits(images))


# Drawing images


def by_hand(model: Model, num_steps: int) -> jax.Array:
    """The first group of `sample`, from the public parts alone."""
    start_key, noise_key = jax.random.split(KEY)
    images, labels = loading.load(get_spec("digits"), "train")
    starts = informative_init.informative(jnp.asarray(images), labels, 10)

    def log_density(x: jax.Array) -> tuple[jax.Array, None]:
        logits, _ = forward(model.network, model.variables, x)
        return energy.log_density(logits), None

    return sgld.sample(
        row_keys(noise_key, 8),
        starts.fresh(row_keys(start_key, 8)),
        log_density,
        model.generator.kernel,
        num_steps=num_steps,
        unroll=True,
    )[0]


def noisy(model: Model, num_sgld_steps: int = 2) -> Model:
    """The same network with noise in its kernel, and another K."""
    config = models.settings(sgld__noise_std=0.05)
    return models.model_of(config, model.variables, model.buffer, num_sgld_steps=num_sgld_steps)


@pytest.mark.parametrize("num_steps", [0, 2, 5])
def test_sampling_is_the_chain_of_training(model: Model, num_steps: int) -> None:
    """`sample` gives what sgld.sample gives from the same starts, keys, kernel and mode."""
    expected = by_hand(noisy(model), num_steps)
    found = noisy(model).sample(KEY, 8, num_steps=num_steps)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_cut_into_blocks_changes_nothing(model: Model) -> None:
    """Five steps as 5, 2 + 2 + 1 or one by one are the same chain to rounding, noise included."""
    found = [noisy(model, k).sample(KEY, 8, num_steps=5) for k in (5, 2, 1)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)
    np.testing.assert_allclose(found[2], found[0], atol=1e-4)


def test_chains_live_as_long_as_buffer_rows(model: Model) -> None:
    """Without num_steps a chain has K / reinit_prob steps; rows that never end need a number."""
    np.testing.assert_array_equal(model.sample(KEY, 2), model.sample(KEY, 2, num_steps=4))
    endless = models.model_of(models.settings(buffer__reinit_prob=0.0), {}, model.buffer)
    with pytest.raises(ValueError, match="give num_steps"):
        endless.sample(KEY, 2)


@pytest.mark.parametrize("batch_norm", ["train", "eval"])
def test_a_short_group_is_filled_with_fresh_starts(model: Model, batch_norm: str) -> None:
    """Fewer images than a group are the first of a whole one; the second group has its own."""
    draw = functools.partial(model.sample, KEY, num_steps=2, batch_norm=batch_norm)
    whole = draw(16)
    np.testing.assert_array_equal(draw(3), whole[:3])
    np.testing.assert_array_equal(draw(11), whole[:11])
    assert draw(0).shape == (0, 8, 8, 1)
    assert np.abs(whole[:8] - whole[8:]).max() > 0.1


def test_rows_are_coupled_in_training_mode_only(model: Model, images: np.ndarray) -> None:
    """Another neighbour changes a row with batch_norm="train", and not with "eval"."""
    one, other = images[:8].copy(), images[:8].copy()
    other[-1] = 255 - other[-1]
    for batch_norm, is_coupled in (("train", True), ("eval", False)):
        a, b = (model.refine(KEY, x, 2, batch_norm=batch_norm)[:7] for x in (one, other))
        assert (np.abs(a - b).max() > 1e-5) == is_coupled


def test_refine_fills_up_with_buffer_rows(model: Model, images: np.ndarray) -> None:
    """A short group depends on the buffer, a whole one does not."""
    other = models.model_of(models.settings(), model.variables, -model.buffer)
    for count, depends in ((3, True), (8, False)):
        a, b = (m.refine(KEY, images[:count], 2) for m in (model, other))
        assert a.shape == (count, 8, 8, 1)
        assert (np.abs(a - b).max() > 1e-5) == depends


@pytest.mark.parametrize("batch_norm", ["train", "eval"])
def test_refining_raises_the_density(model: Model, images: np.ndarray, batch_norm: str) -> None:
    """Without noise images end, on average, where the density is higher, inside [-1, 1]."""
    refined = model.refine(KEY, images[:16], 4, batch_norm=batch_norm)
    assert refined.dtype == np.float32 and np.abs(refined).max() <= 1
    chains = generate.Chains(model.network, model.generator.kernel, 2, batch_norm)
    density = chains.log_density(model.variables, jnp.full(16, generate.NO_LABEL))
    start = as_float(images[:16])
    assert density(jnp.asarray(refined))[0].mean() > density(jnp.asarray(start))[0].mean() + 1e-3


@pytest.mark.parametrize("init", ["uniform", "informative"])
def test_conditional_samples_have_their_class(init: str) -> None:
    """Chains on log p(x, y) of Gaussians end at the mean of y, wherever they start."""
    model, means = models.bells(sgld__init=init, sgld__step_size=0.5)
    labels = np.arange(20) % 10
    found = model.sample(KEY, 20, labels, num_steps=30)
    np.testing.assert_allclose(found, means[labels], atol=1e-4)
    np.testing.assert_array_equal(model.predict(found), labels)
    np.testing.assert_allclose(model.sample(KEY, 3, 4, num_steps=30), means[[4] * 3], atol=1e-4)
    refined = model.refine(KEY, means[:3], 30, label=[7, 8, 9])
    np.testing.assert_allclose(refined, means[[7, 8, 9]], atol=1e-4)


def test_a_log_density_of_a_class_is_its_logit(model: Model, images: np.ndarray) -> None:
    """With a label, one or many, it is f(x)[y]; a label that is no class is refused."""
    logits = model.logits(images[:3])
    np.testing.assert_array_equal(model.log_density(images[:3], 4), logits[:, 4])
    found = model.log_density(images[:3], [0, 9, 2])
    np.testing.assert_array_equal(found, logits[[0, 1, 2], [0, 9, 2]])
    with pytest.raises(ValueError, match="found 10"):
        model.log_density(images[:3], 10)


def test_a_record_of_new_images_says_what_their_chains_followed() -> None:
    """Runs of other chains have other records; those of the paper's chains keep theirs."""
    plain, frozen, by_class = (
        models.bells(**{"sgld__init": "uniform", **fields})[0].generator.described
        for fields in (
            {},
            {"sgld__batch_norm": "eval"},
            {"objective__class_conditional": True},
        )
    )
    assert plain == {"batch norm": "as in training"}
    assert frozen["batch norm"] != plain["batch norm"] and "p(x | y)" in by_class["follows"]


def test_a_class_starts_from_its_own_gaussian(model: Model) -> None:
    """The informative starts of a class have the mean of its training images."""
    images, labels = loading.load(get_spec("digits"), "train")
    for c in (0, 7):
        starts = model.starts(row_keys(KEY, 200), np.full(200, c))
        mean = as_float(images[labels == c]).mean(axis=0)
        assert np.abs(starts.mean(axis=0) - mean).mean() < 0.06  # clipping moves it a little


@pytest.mark.parametrize(
    ("label", "error", "words"),
    [
        (10, ValueError, "from 0 to 9, found 10"),
        (-1, ValueError, "found -1"),
        ([1, 2], ValueError, "one label or 3"),
        (1.0, TypeError, "float64"),
        ("three", TypeError, "whole numbers"),
        (True, TypeError, "bool"),
    ],
)
def test_what_is_no_class_is_refused(
    model: Model, label: object, error: type[Exception], words: str
) -> None:
    """A label beyond the classes, of another type or number, is an error that says so."""
    with pytest.raises(error, match=words):
        model.sample(KEY, 3, label)


def test_what_is_no_chain_is_refused(model: Model) -> None:
    """Negative numbers, an unknown mode of batch norm and a seed for a key are errors."""
    with pytest.raises(TypeError, match=r"as jax.random.key\(0\), found 3"):
        model.sample(3, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n must be at least 0"):
        model.sample(KEY, -1)
    with pytest.raises(ValueError, match="num_steps must be at least 0"):
        model.sample(KEY, 1, num_steps=-1)
    with pytest.raises(ValueError, match='"train" or "eval", found \'test\''):
        model.sample(KEY, 1, num_steps=1, batch_norm="test")


def test_progress_rises_to_the_end(model: Model) -> None:
    """What is done is told after every block, rising, all of it at the end."""
    told: list[tuple[int, int]] = []
    model.sample(KEY, 9, num_steps=5, progress=lambda *pair: told.append(pair))
    assert len(told) == 6 and {total for _, total in told} == {16 * 5}
    assert told[-1] == (80, 80)
    assert all(a < b for a, b in itertools.pairwise(told))


def test_a_model_without_bounds_bears_its_own_samples() -> None:
    """JEM's chains may leave [-1, 1]: such images are scored where they are, NaN is refused.

    A Gaussian's density falls by half the square of the distance, also far outside.
    """
    model, means = models.bells(sgld__clip_images=False, sgld__grad_clip="inf")
    far = 5 * means[:2] + 1
    expected = logsumexp(-((far[:, None] - means) ** 2).sum(axis=(2, 3, 4)) / 2, axis=1)
    np.testing.assert_allclose(model.log_density(far), expected, rtol=1e-5)
    moved = model.refine(KEY, far, 1)  # a whole score, unclipped: onto the mean of the class
    np.testing.assert_allclose(moved, means[:2], atol=1e-4)
    assert pictures.to_uint8(far).min() == 0 and pictures.to_uint8(far).max() == 255
    with pytest.raises(ValueError, match="found nan"):
        model.log_density(far * np.nan)
