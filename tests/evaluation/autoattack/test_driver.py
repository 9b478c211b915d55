"""The four attacks together: who is attacked, what counts as broken, and what is said about it."""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import backend
from sadajem_jax.evaluation import autoattack
from sadajem_jax.evaluation.autoattack import driver
from sadajem_jax.evaluation.autoattack import square as square_attack
from sadajem_jax.evaluation.autoattack.attack import Attack
from sadajem_jax.evaluation.autoattack.batches import Placement, Runner
from sadajem_jax.evaluation.autoattack.campaign import MISCLASSIFIED, STANDS, Name
from sadajem_jax.evaluation.autoattack.driver import Result
from tests import places
from tests.evaluation.autoattack import networks

ALL = ["apgd-ce", "apgd-t", "fab-t", "square"]
SHAPE = (5, 5, 1)


def problem(number: int = 12, classes: int = 10) -> tuple[Any, np.ndarray, np.ndarray]:
    """A random linear classifier, images far from black and white, and the labels it gives them."""
    variables = networks.random_linear(SHAPE, classes)
    images = np.random.default_rng(2).uniform(0.3, 0.7, (number, *SHAPE)).astype(np.float32)
    labels = np.array(jnp.argmax(networks.linear(variables, jnp.asarray(images)), axis=1))
    return variables, images, labels


@pytest.fixture(scope="module", params=[("l_inf", 0.058), ("l_2", 0.24)], ids=["l_inf", "l_2"])
def whole(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The whole attack on a linear classifier, in batches of 3 and of 8; one image mislabelled."""
    norm, eps = request.param
    variables, images, labels = problem()
    labels[4] = (labels[4] + 1) % 10
    told: list[tuple[str, float, int]] = []
    results = [
        autoattack.run(
            networks.linear,
            variables,
            images,
            labels,
            norm=norm,
            eps=eps,
            batch_size=size,
            progress=lambda *args: told.append(args),
        )
        for size in (3, 8)
    ]
    data = {"variables": variables, "images": images, "labels": labels}
    return {"norm": norm, "eps": eps, **data, "results": results, "told": told}


def test_no_result_depends_on_the_batch_size(whole: dict[str, Any]) -> None:
    """Batches of 3 and of 8 give the same verdicts and, to rounding, the same images."""
    three, eight = whole["results"]
    np.testing.assert_array_equal(three.verdicts, eight.verdicts)
    np.testing.assert_allclose(three.adversarial, eight.adversarial, atol=1e-6)
    assert three[:3] == eight[:3] and three.warnings == eight.warnings


def test_verdicts_are_the_closed_form_s(whole: dict[str, Any]) -> None:
    """An image breaks if it is nearer than eps to a boundary, and stands if it is further."""
    result, norm = whole["results"][0], whole["norm"]
    w = whole["variables"]["w"].astype(np.float64)
    flat = whole["images"].astype(np.float64).reshape(12, -1)
    logits, own = flat @ w, np.argmax(flat @ w, axis=1)
    order = 1 if norm == "l_inf" else 2  # the dual norm
    differences = w[:, own].T[:, :, None] - w[None]
    lengths = np.linalg.norm(differences, ord=order, axis=1) + 1e-9
    gaps = logits.max(axis=1, keepdims=True) - logits
    gaps[np.arange(12), own] = np.inf
    distance = (gaps / lengths).min(axis=1)
    stands = result.verdicts == STANDS
    right = own == whole["labels"]
    clear = right & (np.abs(distance / whole["eps"] - 1) > 0.05)
    np.testing.assert_array_equal(stands[clear], (distance > whole["eps"])[clear])
    assert clear.sum() >= 8 and 3 <= stands.sum() <= 9


def test_what_is_given_back_is_consistent(whole: dict[str, Any]) -> None:
    """Adversarial images are misclassified, within eps and box; others are the clean ones.

    The shares are those of the verdicts, fall from attack to attack, and a misclassified image is
    not robust.
    """
    result, images, labels = whole["results"][0], whole["images"], whole["labels"]
    predicted = np.argmax(networks.linear(whole["variables"], jnp.asarray(result.adversarial)), 1)
    broken = np.isin(result.verdicts, ALL)
    assert (predicted != labels)[broken].all() and broken.any()
    np.testing.assert_array_equal(result.adversarial[~broken], images[~broken])
    moved = networks.sizes(result.adversarial - images, whole["norm"])
    assert moved.max() <= whole["eps"] * (1 + 1e-5)
    assert result.adversarial.min() >= 0 and result.adversarial.max() <= 1
    assert result.verdicts[4] == MISCLASSIFIED
    assert result.clean_accuracy == 11 / 12
    assert list(result.standing) == ALL
    shares = [result.clean_accuracy, *result.standing.values()]
    assert shares == sorted(shares, reverse=True)
    assert result.robust_accuracy == shares[-1] == np.mean(result.verdicts == STANDS)
    assert result.warnings == []


def test_progress_counts_the_images_of_each_attack(whole: dict[str, Any]) -> None:
    """Each pass counts from at most its images up to all of them, target after target.

    Parts of images count, and the end of a pass is told once, however few images stand.
    """
    told = whole["told"]
    names = list(dict.fromkeys(name for name, _, _ in told))
    assert names[:3] == ["apgd-ce", "apgd-t 1/9", "apgd-t 2/9"] and names[-1] == "square"
    for (name, done, total), (after, next_done, _) in itertools.pairwise(told):
        assert 0 <= done <= total
        assert next_done >= done if name == after and done < total else True
    assert told[-1][1] == told[-1][2] and any(done % 1 for _, done, _ in told)
    over = [name for name, done, total in told if done == total]
    assert len(over) == 2 * len(set(over))  # of two calls


# ---- planted attacks, which find what the test wants


class Seen(NamedTuple):
    """What a planted attack was given: images by attack, in order."""

    images: dict[str, list[np.ndarray]]


def plant(monkeypatch: pytest.MonkeyPatch, breaks: dict[Name, Any]) -> Seen:
    """Puts an attack in each place that gives `breaks[name](rows)` back, and notes its images."""
    seen = Seen({name.text: [] for name in Name})

    def planted(name: Name) -> Attack:
        def note(images: np.ndarray) -> None:
            seen.images[name.text].append(np.array(images))

        def start(rows: Any) -> Any:
            jax.debug.callback(note, rows.images)
            return rows.images

        return Attack(
            num_steps=1,
            start=start,
            step=lambda variables, rows, state, number: state,
            result=lambda rows, state: breaks[name](rows),
            gradients=False,
        )

    monkeypatch.setattr(driver, "standard", lambda *_, **__: {name: planted(name) for name in Name})
    return seen


def by_value(variables: Any, images: jax.Array) -> jax.Array:
    """The class of an image is ten times its first value, rounded down."""
    value = images.reshape(len(images), -1)[:, :1]
    return -jnp.square(10 * value - (jnp.arange(10) + 0.5))


VALUES = np.array([0.05, 0.15, 0.25, 0.35, 0.45, 0.55], np.float32)
IMAGES = VALUES.reshape(-1, 1, 1, 1)
LABELS = np.array([0, 1, 2, 3, 4, 0])  # the last is misclassified


def turned(*values: float) -> Any:
    """An attack that moves the images of these values by 0.1, into the next class."""

    def result(rows: Any) -> jax.Array:
        near = jnp.abs(rows.images - jnp.array(values)) < 0.01
        return rows.images + 0.1 * jnp.any(near, axis=-1, keepdims=True)

    return result


def nothing(rows: Any) -> jax.Array:
    """An attack that finds nothing."""
    return rows.images


def planted_run(**options: Any) -> Result:
    """The planted attacks on `IMAGES`, two at a time."""
    options = {"norm": "l_inf", "eps": 0.11, "batch_size": 2, **options}
    return autoattack.run(by_value, None, IMAGES, LABELS, **options)


def test_each_image_is_named_after_the_attack_that_broke_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Verdicts, shares and images follow the plan, and no broken image is attacked again.

    Every attack starts from the clean image, whatever the ones before made of it.
    """
    plan = {
        Name.APGD_CE: turned(0.05),
        Name.APGD_T: turned(0.15),
        Name.FAB_T: turned(0.05, 0.25),  # of which the first is broken already
        Name.SQUARE: turned(0.35),
    }
    seen = plant(monkeypatch, plan)
    result = planted_run()
    assert result.verdicts.tolist() == [*ALL, STANDS, MISCLASSIFIED]
    np.testing.assert_allclose(list(result.standing.values()), np.array([4, 3, 2, 1]) / 6)
    assert result.clean_accuracy == 5 / 6 and result.robust_accuracy == 1 / 6
    expected = IMAGES + 0.1 * np.array([1, 1, 1, 1, 0, 0]).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(result.adversarial, expected, atol=1e-6)
    jax.effects_barrier()
    for name, first in zip(ALL, range(4), strict=True):
        # Of apgd-t and fab-t the first target breaks; the others see what is left.
        attacked = {float(v) for images in seen.images[name] for v in images.ravel()}
        assert attacked == {float(v) for v in VALUES[first:5]}, name
    assert any("Square" in warning for warning in result.warnings)


def test_later_targets_see_only_what_earlier_ones_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that its first target breaks is not attacked for the second."""
    seen = plant(monkeypatch, {**dict.fromkeys(Name, nothing), Name.APGD_T: turned(0.05)})
    planted_run(batch_size=5)
    jax.effects_barrier()
    assert len(seen.images["apgd-t"]) == 9
    for later in seen.images["apgd-t"][1:]:
        assert float(VALUES[0]) not in later.ravel()


@pytest.mark.parametrize(
    "candidate",
    [
        lambda rows: rows.images + 0.2,  # outside the ball
        lambda rows: rows.images - 0.1,  # the first outside the box
        lambda rows: rows.images * jnp.nan,
        lambda rows: rows.images + 0.04,  # another image of the same class
    ],
)
def test_only_misclassified_images_in_ball_and_box_count(
    monkeypatch: pytest.MonkeyPatch, candidate: Any
) -> None:
    """What lies outside, is no number or is classified rightly breaks nothing."""
    plant(monkeypatch, dict.fromkeys(Name, candidate))
    assert planted_run().verdicts[0] == STANDS


def only(monkeypatch: pytest.MonkeyPatch, *names: Name) -> None:
    """Leaves out the other attacks, to save their compilation."""
    every = driver.standard
    some = functools.partial(lambda f, *a, **kw: {n: f(*a, **kw)[n] for n in names}, every)
    monkeypatch.setattr(driver, "standard", some)


def test_a_search_that_lies_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search_fn that calls everything misclassified leaves a constant classifier's images."""

    def constant(variables: Any, images: jax.Array) -> jax.Array:
        return jnp.array([1.0, 0, 0, 0]) + 0 * images.reshape(len(images), -1)[:, :1]

    def liar(variables: Any, images: jax.Array) -> jax.Array:
        return jnp.asarray(-constant(variables, images) - images.sum(), jnp.bfloat16)

    only(monkeypatch, Name.APGD_CE, Name.FAB_T, Name.SQUARE)
    images = np.full((2, *SHAPE), 0.5, np.float32)
    labels = np.zeros(2, int)
    result = autoattack.run(
        constant, None, images, labels, norm="l_inf", eps=0.3, search_fn=liar, batch_size=2
    )
    assert result.verdicts.tolist() == [STANDS] * 2
    assert result.robust_accuracy == 1


def test_a_search_in_bfloat16_breaks_what_the_network_breaks(
    monkeypatch: pytest.MonkeyPatch, whole: dict[str, Any]
) -> None:
    """A rounded search finds about the same, and never more than is verified."""
    if whole["norm"] == "l_2":
        pytest.skip("the search knows no norm")
    only(monkeypatch, Name.APGD_CE)

    def rounded(variables: Any, images: jax.Array) -> jax.Array:
        return networks.linear(variables, images).astype(jnp.bfloat16)

    result = autoattack.run(
        networks.linear,
        whole["variables"],
        whole["images"],
        whole["labels"],
        norm=whole["norm"],
        eps=whole["eps"],
        search_fn=rounded,
        batch_size=8,
    )
    exact = whole["results"][1]
    assert np.sum(result.verdicts != STANDS) >= np.sum(exact.verdicts != STANDS) - 1
    predicted = np.argmax(networks.linear(whole["variables"], jnp.asarray(result.adversarial)), 1)
    broken = np.isin(result.verdicts, ALL)
    assert (predicted != whole["labels"])[broken].all() and broken.any()


# ---- draws


def test_another_seed_is_another_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image's draws follow the seed and the image's place, and nothing else."""

    def drawn(rows: Any) -> jax.Array:
        def far(key: jax.Array) -> jax.Array:  # into the next class
            return jax.random.uniform(key, (1, 1, 1), minval=0.06, maxval=0.1)

        return rows.images + jax.vmap(far)(rows.keys)

    plant(monkeypatch, dict.fromkeys(Name, drawn))
    first, again, other = (
        planted_run(seed=seed, batch_size=size) for seed, size in ((0, 2), (0, 5), (1, 2))
    )
    np.testing.assert_array_equal(first.adversarial, again.adversarial)
    moved = [(result.adversarial - IMAGES)[:5].ravel() for result in (first, other)]
    assert len(np.unique(np.round(moved, 5))) == 10


ON_TWO_DEVICES = """
import jax, numpy as np
from sadajem_jax import backend
from sadajem_jax.evaluation import autoattack
from tests.evaluation.autoattack import networks, test_driver

assert jax.local_device_count() == 2
variables, images, labels = test_driver.problem()
result = autoattack.run(
    networks.linear, variables, images, labels, norm="l_inf", eps=0.058, batch_size=3
)
np.savez("{path}", verdicts=result.verdicts, adversarial=result.adversarial)
"""


def test_no_result_depends_on_the_devices(tmp_path: pathlib.Path) -> None:
    """Two devices give the same verdicts and, to rounding, the same images as one."""
    flags = "--xla_force_host_platform_device_count=2"
    subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES.format(path=tmp_path / "two.npz")],
        cwd=places.ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True,
        timeout=300,
    )
    variables, images, labels = problem()
    one = autoattack.run(
        networks.linear, variables, images, labels, norm="l_inf", eps=0.058, batch_size=8
    )
    with np.load(tmp_path / "two.npz") as two:
        np.testing.assert_array_equal(one.verdicts, two["verdicts"])
        np.testing.assert_allclose(one.adversarial, two["adversarial"], atol=1e-6)


@pytest.mark.parametrize("name", [Name.APGD_CE, Name.FAB_T], ids=lambda name: name.text)
def test_the_looped_form_is_the_unrolled_one(monkeypatch: pytest.MonkeyPatch, name: Name) -> None:
    """All steps in one program, as on an accelerator, end where single steps end, to rounding."""
    images, labels = networks.some_digits(8)
    variables = networks.trained_mlp()
    targets = np.argsort(-np.asarray(networks.mlp(variables, images)), axis=1)[:, 1]
    batch = networks.rows(images, labels, targets, eps=0.1)
    attack = driver.standard(networks.mlp, images.shape[1:], norm="l_inf")[name]
    single, _ = networks.attacked(attack, variables, batch)
    monkeypatch.setattr(backend, "unrolls", lambda: False)
    told: list[float] = []
    placement = Placement(variables, len(images))
    candidates, _ = Runner(attack, placement)(batch, told.append)
    assert len(told) < attack.num_steps and sum(told) == pytest.approx(len(images))
    np.testing.assert_allclose(candidates, single, atol=1e-4)
    assert (networks.sizes(single - images, "l_inf") > 0).any()


# ---- warnings


def warned(monkeypatch: pytest.MonkeyPatch, logits_fn: Any, classes: int = 10) -> list[str]:
    """The warnings about a classifier whose attacks do nothing."""
    plant(monkeypatch, dict.fromkeys(Name, nothing))
    images = np.random.default_rng(0).uniform(size=(4, 1, 1, classes)).astype(np.float32)
    labels = np.argmax(images[:, 0, 0], axis=1)
    return autoattack.run(
        logits_fn, None, images, labels, norm="l_inf", eps=0.01, batch_size=4
    ).warnings


def channels(variables: Any, images: jax.Array) -> jax.Array:
    """A channel a class."""
    return 10 * (images[:, 0, 0] - 0.5)


def test_probabilities_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs of a softmax are warned of, logits are not."""
    (warning,) = warned(monkeypatch, lambda v, x: jax.nn.softmax(channels(v, x)))
    assert "look like probabilities" in warning
    assert warned(monkeypatch, channels) == []


def test_a_randomised_model_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs that differ from call to call are warned of."""
    rng = np.random.default_rng(0)

    def noisy(variables: Any, images: jax.Array) -> jax.Array:
        shape = jax.ShapeDtypeStruct((len(images), 10), jnp.float32)
        noise = jax.pure_callback(lambda: np.float32(rng.normal(size=shape.shape)), shape)
        return channels(variables, images) + 0.01 * noise

    (warning,) = warned(monkeypatch, noisy)
    assert "randomised" in warning


@pytest.mark.parametrize(("classes", "count"), [(2, 2), (3, 2), (4, 1), (9, 1), (10, 0)])
def test_few_classes_are_said(monkeypatch: pytest.MonkeyPatch, classes: int, count: int) -> None:
    """Below 10 classes the number of targets is said; below 4 that targeted DLR was left out."""
    found = warned(monkeypatch, channels, classes=classes)
    assert len(found) == count
    assert any("apgd-t was left out" in warning for warning in found) == (classes < 4)
    if count:
        assert f"{classes - 1} target classes" in found[-1]


def test_three_classes_are_attacked_without_dlr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attacks remain, and FAB has two targets."""
    seen = plant(monkeypatch, dict.fromkeys(Name, nothing))
    variables, images, labels = problem(4, classes=3)
    told: list[str] = []
    result = autoattack.run(
        networks.linear,
        variables,
        images,
        labels,
        norm="l_inf",
        eps=1e-4,
        batch_size=4,
        progress=lambda name, done, total: told.append(name),
    )
    jax.effects_barrier()
    assert list(result.standing) == ["apgd-ce", "fab-t", "square"]
    assert told == ["apgd-ce", "fab-t 1/2", "fab-t 2/2", "square"]
    assert not seen.images["apgd-t"] and result.robust_accuracy == 1


def test_zero_gradients_are_noticed() -> None:
    """A classifier of rounded images shows no gradient, and Square breaks what they hide."""

    def stairs(variables: Any, images: jax.Array) -> jax.Array:
        return networks.linear(variables, jnp.round(images * 8) / 8)

    variables, images, _ = problem(6)
    labels = np.asarray(jnp.argmax(stairs(variables, jnp.asarray(images)), axis=1))
    result = autoattack.run(stairs, variables, images, labels, norm="l_inf", eps=0.13, batch_size=6)
    zero, square = result.warnings
    assert "gradient of zero at the start of apgd-t" in zero and "Square Attack broke" in square
    assert "square" in result.verdicts


def test_zero_gradients_of_few_classes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without targeted DLR, they are counted at the start of the first attack."""

    def flat(variables: Any, images: jax.Array) -> jax.Array:
        return jnp.zeros((len(images), 3)).at[:, 0].set(1.0) + 0 * images.sum()

    monkeypatch.setattr(square_attack, "QUERIES", 2)
    images = np.full((2, 2, 2, 1), 0.5, np.float32)
    result = autoattack.run(
        flat, None, images, np.zeros(2, int), norm="l_inf", eps=0.1, batch_size=2
    )
    (zero,) = [warning for warning in result.warnings if "gradient of zero" in warning]
    assert zero.startswith("2 of 2 images") and "apgd-ce" in zero


# ---- refusals


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": IMAGES * 3}, r"images must lie in \[0, 1\], found \[0.15, 1.65\]"),
        ({"images": IMAGES * np.nan}, r"images must lie in \[0, 1\], found \[nan, nan\]"),
        ({"images": (IMAGES * 255).astype(np.uint8)}, "images must be floats .* found uint8"),
        ({"images": IMAGES[..., 0]}, r"images must be \[N, H, W, channels\]"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "N at least 1"),
        (
            {"labels": LABELS[:2]},
            r"labels must be integers \[6\], one an image, found int64 \(2,\)",
        ),
        ({"labels": LABELS + 0.5}, "labels must be integers"),
        ({"labels": LABELS + 8}, "labels must be from 0 to 9, found 8 ... 12"),
        ({"norm": "l_1"}, "norm must be one of l_inf, l_2, found 'l_1'"),
        ({"eps": 0}, "eps must be above 0 and finite, found 0"),
        ({"eps": float("nan")}, "eps must be above 0 and finite, found nan"),
        ({"eps": 8}, r"eps must be at most 1, .* found 8; .* 8/255 = 0.03137"),
        ({"eps": 128, "norm": "l_2"}, "eps must be at most .* in l_2, found 128"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"logits_fn": lambda v, x: by_value(v, x).sum()}, r"found \[\] for two images"),
        ({"logits_fn": lambda v, x: by_value(v, x)[:1]}, r"found \[1, 10\] for two images"),
        ({"logits_fn": lambda v, x: by_value(v, x)[:, :1]}, "C at least 2"),
        ({"logits_fn": lambda v, x: by_value(v, x) * jnp.inf}, "logits must be finite"),
    ],
)
def test_what_cannot_be_attacked_is_refused_in_one_line(
    changed: dict[str, Any], message: str
) -> None:
    """The error says what was expected and what was found."""
    given: dict[str, Any] = {
        "logits_fn": by_value,
        "images": IMAGES,
        "labels": LABELS,
        "norm": "l_inf",
        "eps": 0.1,
    }
    given = {"variables": None, "batch_size": 6, **given, **changed}
    with pytest.raises(ValueError, match=message) as error:
        autoattack.run(**given)
    assert "\n" not in str(error.value)
