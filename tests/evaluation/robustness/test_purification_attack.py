"""The attack on a purified classifier: what breaks, what counts as broken, what it depends on."""

from __future__ import annotations

import itertools
import os
import pathlib
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from sadajem_jax import sgld
from sadajem_jax.cli import config as config_files
from sadajem_jax.cli import rules
from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation import options
from sadajem_jax.evaluation.autoattack.batches import Placement
from sadajem_jax.evaluation.robustness.purification import attack, campaign, cost, pgd, presets
from sadajem_jax.evaluation.robustness.purification.campaign import (
    BROKEN,
    MISCLASSIFIED,
    STANDS,
    Result,
)
from sadajem_jax.evaluation.robustness.purification.expectation import Expectation
from sadajem_jax.evaluation.robustness.purification.purifier import Purifier
from tests import places
from tests.evaluation.robustness import purified

EPS = 0.02  # on [0, 1]: 0.04 on [-1, 1]
NUMBER = 16


def attacked(model: purified.Quadratic, x: np.ndarray, labels: np.ndarray, **fields: Any) -> Result:
    """One attack, by default of 20 steps on the classifier behind one Langevin step."""
    of_run: dict[str, Any] = {
        "eps": EPS,
        "step_size": EPS / 5,
        "kernel": purified.FREE,
        "batch_size": 32,
    }
    of_run |= {name: fields.pop(name) for name in list(fields) if name not in SETTINGS}
    settings = purified.settings(**({"num_steps": 1, "attack_steps": 20, "clip": False} | fields))
    return attack.run(purified.logits, model.variables(), x, labels, settings, **of_run)


SETTINGS = presets.Purification._fields


def two_classes(rate: float) -> tuple[purified.Quadratic, np.ndarray, np.ndarray, np.ndarray]:
    """Images at known distances from the boundary behind one step: (model, x, labels, distances).

    A distance is the least L_inf change of the image, on [0, 1], that turns the class: the margin
    there over the dual norm of its gradient. They go from half of EPS to one and a half.
    """
    model = purified.quadratic(rate, classes=2)
    normal = model.w[:, 0] - model.w[:, 1]
    distances = np.linspace(0.5, 1.5, NUMBER) * EPS
    side = np.where(np.arange(NUMBER) % 2, 1, -1)
    along = purified.images(NUMBER, within=0.3).reshape(NUMBER, -1).astype(np.float64)
    along -= (along @ normal)[:, None] * normal / (normal @ normal)
    x = along + (side * 2 * distances * np.abs(normal).sum())[:, None] * normal / (normal @ normal)
    x = x.reshape(NUMBER, *purified.SHAPE).astype(np.float32)
    return model, x, model.predict(model.end(x, 1)), distances


@pytest.fixture(scope="module")
def turned() -> dict[str, Any]:
    """Where the chain mirrors images, x_1 = -x_0 / 2, what both gradients find."""
    model, x, labels, distances = two_classes(1.5)
    full = attacked(model, x, labels)
    bpda = attacked(model, x, labels, through_chain=False)
    return {"x": x, "distances": distances, "full": full, "bpda": bpda}


def test_the_full_gradient_breaks_what_can_be_broken(turned: dict[str, Any]) -> None:
    """Behind a known chain an image breaks if its boundary is nearer than eps, else it stands."""
    clear = np.abs(turned["distances"] / EPS - 1) > 0.02
    broken = turned["full"].verdicts == BROKEN
    np.testing.assert_array_equal(broken[clear], (turned["distances"] < EPS)[clear])
    assert turned["full"].accuracy == 0.5 and turned["full"].clean_accuracy == 1


def test_bpda_is_blind_to_a_chain_that_turns_signs(turned: dict[str, Any]) -> None:
    """Where the chain's Jacobian is negative BPDA walks away from the boundary and breaks nothing.

    So its number alone would call this classifier robust.
    """
    assert turned["bpda"].accuracy == 1


def test_what_is_given_back_is_consistent(turned: dict[str, Any]) -> None:
    """Points that break lie within eps and box; steps are told of broken images alone."""
    result, x = turned["full"], turned["x"]
    assert np.abs(result.points - x).max() <= 2 * EPS * (1 + 1e-5)
    assert np.abs(result.points).max() <= 1
    broken = result.verdicts == BROKEN
    np.testing.assert_array_equal(result.broken_at >= 0, broken)
    assert result.broken_at.max() <= 20
    assert result.gradients > 0 and result.blind == 0 and result.refuted == 0


def test_the_network_alone_is_plain_pgd() -> None:
    """With no steps both gradients are the network's own, and its closed form decides."""
    model, x, labels, distances = two_classes(0.0)
    full, bpda = (attacked(model, x, labels, num_steps=0, through_chain=b) for b in (True, False))
    np.testing.assert_array_equal(full.points, bpda.points)
    clear = np.abs(distances / EPS - 1) > 0.02
    np.testing.assert_array_equal((full.verdicts == BROKEN)[clear], (distances < EPS)[clear])


def test_misclassified_images_are_not_attacked() -> None:
    """Who is wrong behind the chain is no success of the attack, and stays as it is."""
    model, x, labels, _ = two_classes(1.5)
    labels = np.where(np.arange(NUMBER) < 3, 1 - labels, labels)
    result = attacked(model, x, labels, attack_steps=1)
    assert (result.verdicts[:3] == MISCLASSIFIED).all()
    assert (result.verdicts[3:] != MISCLASSIFIED).all()
    np.testing.assert_array_equal(result.points[:3], x[:3])
    assert result.clean_accuracy == 13 / 16 and result.gradients == 13


def noisy(margin: float) -> tuple[purified.Quadratic, np.ndarray, np.ndarray]:
    """12 images at one margin from the boundary, where a chain's noise is 5 margins wide."""
    model = purified.quadratic(0.0, classes=2)
    normal = model.w[:, 0] - model.w[:, 1]
    x = np.tile(margin * normal / (normal @ normal), (12, 1)).reshape(12, *purified.SHAPE)
    return model, x.astype(np.float32), np.zeros(12, int)


def test_only_verified_breaks_count() -> None:
    """A candidate that fooled the attack's one noisy chain, but not many fresh ones, is no break.

    No image can be broken here: eps is a tenth of the distance to the boundary.
    """
    model, x, labels = noisy(0.2)
    scale = np.linalg.norm(model.w[:, 0] - model.w[:, 1])
    result = attacked(
        model,
        x,
        labels,
        noise_std=1.0 / scale,
        attack_chains=1,
        verify_chains=600,
        attack_steps=5,
        eps=0.2 / np.abs(model.w[:, 0] - model.w[:, 1]).sum() / 20,
    )
    assert result.accuracy == 1
    assert result.refuted >= 12 * 6 / 4  # a chain is wrong with P(N > 0.2) = 0.42


def test_a_misled_search_breaks_nothing_that_stands() -> None:
    """What the searched network takes for broken counts only where the judging one agrees."""
    model, x, labels, _ = two_classes(0.0)

    def upside_down(variables: Any, x: jax.Array) -> jax.Array:
        return -purified.logits(variables, x)

    changed = {"num_steps": 0, "attack_steps": 2, "eps": 1e-4}
    result = attacked(model, x, labels, search_fn=upside_down, **changed)
    assert result.accuracy == 1 and result.refuted == 3 * NUMBER


def test_without_noise_one_chain_is_run() -> None:
    """With sigma = 0, 4 and 20 chains ask no more rows of the network than one would."""
    model, x, labels, _ = two_classes(1.5)
    rows: set[int] = set()

    def seen(variables: Any, x: jax.Array) -> jax.Array:
        rows.add(len(x))
        return purified.logits(variables, x)

    settings = purified.settings(num_steps=1, attack_steps=1)
    result = attack.run(
        seen, model.variables(), x, labels, settings, kernel=purified.FREE, batch_size=1000
    )
    assert rows - {2} == {NUMBER}  # two are traced to see what the network gives
    assert settings.attack_chains > 1
    assert cost.chains(settings) == (1, 1)
    assert cost.chains(settings._replace(noise_std=0.1)) == (4, 20)
    assert len(result.verdicts) == NUMBER


def random_attack(**fields: Any) -> tuple[Result, list[tuple[int, int]]]:
    """An attack of chains with noise on half a dozen images, and the progress it told."""
    model, x, labels, _ = two_classes(0.05)
    told: list[tuple[int, int]] = []
    fields = {"progress": lambda *args: told.append(args)} | fields
    result = attacked(
        model,
        x[::3],
        labels[::3],
        num_steps=4,
        noise_std=0.01,
        attack_chains=3,
        verify_chains=5,
        attack_steps=6,
        **fields,
    )
    return result, told


@pytest.fixture(scope="module")
def whole() -> tuple[Result, list[tuple[int, int]]]:
    """The same in batches of 32 rows."""
    return random_attack()


def assert_same(one: Result, other: Result) -> None:
    """The same verdicts and, to rounding, the same points."""
    np.testing.assert_array_equal(one.verdicts, other.verdicts)
    np.testing.assert_array_equal(one.broken_at, other.broken_at)
    np.testing.assert_allclose(one.points, other.points, atol=1e-6)
    assert one.refuted == other.refuted


def test_no_result_depends_on_the_batch(whole: Any) -> None:
    """Batches of 2 rows, less than an image's chains, and segments of 3 steps change nothing."""
    assert_same(whole[0], random_attack(batch_size=2, segment=3)[0])
    assert {STANDS, BROKEN} <= set(whole[0].verdicts)
    assert (random_attack(seed=1)[0].points != whole[0].points).any()


class Killed(Exception):
    """What ends an attack half-way."""


def killed(path: pathlib.Path, after: int, **fields: Any) -> list[tuple[int, int]]:
    """The random attack, killed after so many words of progress; gives those."""
    told: list[tuple[int, int]] = []

    def hear(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == after:
            raise Killed

    with pytest.raises(Killed):
        random_attack(checkpoint=path, progress=hear, **fields)
    return told


@pytest.fixture
def always_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """After every portion of images."""
    monkeypatch.setattr(campaign, "SAVE_SECONDS", 0)


def kept_stage(path: pathlib.Path) -> tuple[int, int]:
    """(stages that are over, images that the next one has done with) in a file."""
    with np.load(path) as kept:
        return int(kept["stages"]), int(kept["tried"].sum())


@pytest.mark.usefixtures("always_saving")
def test_a_killed_attack_ends_as_an_unbroken_one(whole: Any, tmp_path: pathlib.Path) -> None:
    """Killed among the clean images and twice in steps, everything that it finds is the same.

    Batches are of a row, so that portions are of an image or two. What was done is not done again.
    """
    path = tmp_path / "deep" / "kept.npz"
    killed(path, 25, batch_size=1)
    assert kept_stage(path) == (0, 1)
    killed(path, 170, batch_size=1)
    before = kept_stage(path)
    assert before[0] >= 1 and before[1] >= 1
    killed(path, 190, batch_size=1)
    after = kept_stage(path)
    assert after > before and after[1] >= 1
    result, told = random_attack(batch_size=1, checkpoint=path)
    assert_same(result, whole[0])
    assert (result.gradients, result.blind) == (whole[0].gradients, whole[0].blind)
    assert told[after[0] - 1] == (after[0] * told[-1][1] // 8, told[-1][1])
    assert all(a <= b for a, b in itertools.pairwise(told)) and told[-1][0] == told[-1][1]
    again, stages = random_attack(batch_size=1, checkpoint=path)
    assert_same(again, whole[0])
    assert len(stages) == 8  # a word a stage, and no work


@pytest.mark.usefixtures("always_saving")
def test_another_attack_begins_anew(tmp_path: pathlib.Path) -> None:
    """A file of another seed, size, chain, gradient, search or start is not gone on with.

    Of another one's images, labels or network neither: their checksum is in its identity.
    """
    path = tmp_path / "kept.npz"
    model, x, labels, _ = two_classes(0.05)
    fields: dict[str, Any] = {"checkpoint": path, "attack_steps": 1}
    attacked(model, x, labels, **fields)
    kept = path.read_bytes()

    def words(model: purified.Quadratic, x: Any, labels: Any, **more: Any) -> int:
        told: list[int] = []
        path.write_bytes(kept)
        attacked(model, x, labels, **{**fields, "progress": lambda n, _: told.append(n), **more})
        return len(told)

    assert words(model, x, labels) == 3
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"eps": EPS / 2},
        {"step_size": EPS / 4},
        {"through_chain": False},
        {"noise_std": 0.01},
        {"kernel": purified.FREE._replace(step_size=0.5)},
        {"search_fn": purified.logits},
        {"starts": x},
    ]
    assert all(words(model, x, labels, **other) > 3 for other in others)
    assert words(model, -x, labels) > 3
    assert words(model, x, 1 - labels) > 3
    assert words(model._replace(c=model.c + 0.01), x, labels) > 3
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="expected the saved state of an attack") as caught:
        attacked(model, x, labels, **fields)
    assert "\n" not in str(caught.value) and path.read_bytes() == b"no archive"


def test_given_points_are_tried_and_no_other() -> None:
    """Without steps an attack is what a given point does, brought into the ball if it is beyond."""
    model, x, labels, distances = two_classes(0.5)
    normal = (model.w[:, 0] - model.w[:, 1]).reshape(purified.SHAPE)
    side = np.where(labels == 0, -1, 1)[:, None, None, None]
    beyond = x + 10 * side * np.sign(normal)
    result = attacked(model, x, labels, starts=beyond, attack_steps=0)
    worst = np.clip(x + 2 * EPS * side * np.sign(normal), -1, 1)
    np.testing.assert_allclose(result.points, worst, atol=1e-6)
    clear = np.abs(distances / EPS - 1) > 0.02
    np.testing.assert_array_equal((result.verdicts == BROKEN)[clear], (distances < EPS)[clear])
    near = attacked(model, x, labels, starts=x, attack_steps=0)
    assert near.accuracy == 1 and result.gradients == 0


ON_TWO_DEVICES = """
import jax, numpy as np
from tests.evaluation.robustness.test_purification_attack import random_attack
assert jax.local_device_count() == 2
np.savez({path!r}, **random_attack(batch_size=3)[0]._asdict())
"""


def test_no_result_depends_on_the_devices(whole: Any, tmp_path: pathlib.Path) -> None:
    """Two devices of 3 rows each find what one of 32 finds."""
    subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES.format(path=str(tmp_path / "two.npz"))],
        cwd=places.ROOT,
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
            "JAX_PLATFORMS": "cpu",
        },
        check=True,
        timeout=300,
    )
    with np.load(tmp_path / "two.npz") as two:
        assert_same(whole[0], Result(**{name: two[name] for name in Result._fields}))


def test_progress_grows_to_all_once(whole: Any) -> None:
    """It never falls, is told within an evaluation too, and only its end is all."""
    done, totals = zip(*whole[1], strict=True)
    assert len(set(totals)) == 1 and done[-1] == totals[0]
    assert all(a <= b for a, b in itertools.pairwise(done))
    assert done[-2] < totals[0]
    assert len(done) > 3 * (6 + 2)


@pytest.mark.parametrize("segment", [1, 3])
@pytest.mark.parametrize("through_chain", [True, False])
def test_the_cost_is_what_is_done(segment: int, through_chain: bool) -> None:
    """The work that is told, row for row, is the cost's arithmetic."""
    model, x, labels, _ = two_classes(0.5)
    settings = purified.settings(num_steps=7, noise_std=0.1)
    done: list[int] = []
    placement = Placement(model.variables(), 10, devices=jax.local_devices()[:1])
    made = Purifier(purified.logits, purified.FREE, 7, placement, done.append, segment)
    at, key = np.arange(NUMBER), jax.random.key(0)
    Expectation(made, 4).ascent(x, labels, at, key, through_chain=through_chain)
    one = cost.searching(settings, through_chain=through_chain, segment=segment)
    assert sum(done) == NUMBER * one.gradients
    done.clear()
    Expectation(made, 20).logits(x, at, key)
    assert sum(done) == NUMBER * cost.judging(settings).gradients


def test_the_whole_cost_of_the_presets() -> None:
    """Of an attack on one image, by hand: T + 1 searches, and verifications at most."""
    short, hill = presets.PRESETS["short"], presets.PRESETS["hill"]
    assert cost.attack(short, 1, through_chain=True, segment=1).gradients == 51 * 31 + 2 * 10
    assert cost.attack(short, 2, through_chain=False).gradients == 2 * (51 * 11 + 2 * 10)
    static = short._replace(num_steps=0)
    assert cost.attack(static, 1, through_chain=False) == (2 + 51, 51, 0, 0)
    search, judge = 15 * (4 * 1500 + 1), 150 * 1500
    found = cost.attack(hill, 1, through_chain=True, segment=25).gradients
    assert found == 51 * search + 52 * judge


@limits(deadline=None, max_examples=60)
@given(
    st.floats(1e-4, 2),
    st.floats(1e-4, 3),
    st.integers(0, 2**31 - 1),
    st.sampled_from([0.0, 1.0, np.nan, np.inf, 1e300]),
)
def test_nothing_leaves_ball_or_box(eps: float, step: float, seed: int, planted: float) -> None:
    """From any image, with any gradient, start and steps stay within eps and [-1, 1]."""
    rng = np.random.default_rng(seed)
    clean = rng.choice([-1, 1, 0.3, -0.9], (3, 2, 2, 1)).astype(np.float32)
    ball = pgd.Ball(clean, eps, step)
    x, at = ball.start(jax.random.key(seed)), np.array([2, 0])
    points = [x]
    for _ in range(3):
        gradient = rng.normal(size=(2, 2, 2, 1)) * rng.choice([planted, 1], (2, 2, 2, 1))
        x = x.copy()
        x[at] = ball.move(x[at], gradient, at)
        points.append(x)
    moved = np.stack(points)
    assert moved.dtype == np.float32 and np.isfinite(moved).all()
    assert np.abs(moved).max() <= 1
    assert np.abs(moved - clean).max() <= eps * (1 + 1e-6) + 1e-6
    np.testing.assert_array_equal(moved[:, 1], points[0][None, 1].repeat(4, axis=0))


def test_starts_are_uniform_in_the_ball() -> None:
    """Mean and variance of 3,000 values are those of U(-eps, eps), to 4 standard errors."""
    clean = np.zeros((30, 10, 10, 1), np.float32)
    start = pgd.Ball(clean, 0.5, 0.1).start(jax.random.key(0)).ravel() / 0.5
    assert abs(start.mean()) < 4 * (1 / 3 / 3000) ** 0.5
    assert abs(np.square(start).mean() - 1 / 3) < 4 * (4 / 45 / 3000) ** 0.5
    assert start.min() < -0.99 and start.max() > 0.99


def test_a_chain_that_diverges_is_an_error() -> None:
    """Logits that are no numbers are neither right nor wrong: one line says so."""
    model, x, labels, _ = two_classes(-1e20)
    with pytest.raises(UserError, match="not finite: logits behind the chain of 16 of 16 images"):
        attacked(model, x, labels, num_steps=3)


def test_zero_gradients_are_counted() -> None:
    """A network without gradient is robust only in name, and the result says how often."""
    model, x, labels, _ = two_classes(0.0)

    def stepped(variables: Any, x: jax.Array) -> jax.Array:
        return purified.logits(variables, jnp.round(100 * x) / 100)

    settings = purified.settings(num_steps=0, attack_steps=3)
    result = attack.run(stepped, model.variables(), x, labels, settings, kernel=purified.FREE)
    assert result.blind == result.gradients > 0


def test_what_cannot_be_attacked_is_refused_in_one_line() -> None:
    """Shapes, types and ranges that do not fit are said so."""
    model, x, labels, _ = two_classes(1.5)
    for wrong_x, wrong_labels, error, words in (
        (x[0], labels, ValueError, r"must be \[N, H, W, channels\]"),
        (x, labels[:3], ValueError, r"labels must be integers \[16\]"),
        (x, labels / 2, ValueError, "labels must be integers"),
        (3 * x + 2, labels, ValueError, r"floats in \[-1, 1\]"),
        (x.astype(int), labels, TypeError, "expected uint8 images"),
        (x, labels + 1, ValueError, r"labels must be from 0 to 1, found 1 \.\.\. 2"),
        (x, labels - 1, ValueError, r"labels must be from 0 to 1, found -1 \.\.\. 0"),
    ):
        with pytest.raises(error, match=words) as caught:
            attacked(model, wrong_x, wrong_labels)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"eps": -1.0}, "eps must be above 0"),
        ({"eps": 8}, r"eps must be at most 1, .* 8/255 = 0.03137"),
        ({"eps": np.nan}, "eps must be above 0"),
        ({"step_size": 0.0}, "step_size must be above 0"),
        ({"step_size": -0.01}, "step_size must be above 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"attack_steps": -1}, "attack_steps must be at least 0"),
        ({"num_steps": -1}, "num_steps must be at least 0"),
        ({"noise_std": np.nan}, "noise_std must be at least 0 and finite"),
        ({"verify_chains": 0}, "verify_chains must be at least 1"),
        ({"starts": np.zeros((2, 3, 3, 1))}, "starts must be finite floats"),
    ],
)
def test_sizes_that_make_no_attack_are_refused_in_one_line(wrong: Any, words: str) -> None:
    """Balls, steps, batches and numbers without a meaning are named before anything is run."""
    model, x, labels, _ = two_classes(1.5)
    with pytest.raises(ValueError, match=words) as caught:
        attacked(model, x, labels, **wrong)
    assert "\n" not in str(caught.value)


def test_a_network_of_another_shape_is_refused() -> None:
    """What gives no [B, C] is no classifier."""
    model, x, labels, _ = two_classes(1.5)
    settings = purified.settings(num_steps=1)

    def flat(variables: Any, x: jax.Array) -> jax.Array:
        return purified.logits(variables, x)[:, 0]

    with pytest.raises(ValueError, match=r"logits_fn must give \[B, C\]"):
        attack.run(flat, model.variables(), x, labels, settings, kernel=purified.FREE)


def test_the_kernel_is_the_trained_one() -> None:
    """Step size and clips are training's, the noise is asked for; "hill" clips nothing."""
    trained = sgld.Langevin(0.7, 0.3, 0.9)
    short = attack.kernel_of(trained, presets.PRESETS["short"])
    assert short == sgld.Langevin(0.7, 0.0, 0.9)
    hill = attack.kernel_of(trained, presets.PRESETS["hill"])
    assert hill == sgld.Langevin(0.7, 0.01, np.inf, (-np.inf, np.inf))


def test_presets_are_names_for_the_fields() -> None:
    """The config's own values are the short ones, a name takes another set, no other name does.

    The number of images is the config's where it has one, beside a preset too.
    """
    config, hill = config_files.load("configs/cifar10.py"), presets.PRESETS["hill"]
    assert options.read(config.eval.to_dict()).purification == presets.PRESETS["short"]
    config.eval.purification.preset = "hill"
    rules.check(config)
    assert options.read(config.eval.to_dict()).purification == hill
    config.eval.purification.images = 7
    assert options.read(config.eval.to_dict()).purification == hill._replace(images=7)
    config.eval.purification.preset = "hil"
    with pytest.raises(UserError, match=r"preset must be short, hill or empty, found 'hil'"):
        rules.check(config)
