"""PGD: closed forms, what counts as broken, bounds, and balls of growing size."""

from __future__ import annotations

import itertools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import backend
from sadajem_jax.evaluation.autoattack import batches
from sadajem_jax.evaluation.autoattack.batches import Placement, Runner
from sadajem_jax.evaluation.autoattack.campaign import MISCLASSIFIED, STANDS
from sadajem_jax.evaluation.autoattack.projections import NORMS
from sadajem_jax.evaluation.robustness import ascent, pgd
from sadajem_jax.evaluation.robustness.pgd import BROKEN, Budget
from sadajem_jax.evaluation.robustness.unit import of_unit, unit
from sadajem_jax.inference import torch_checkpoint
from sadajem_jax.wide_resnet import WideResNet
from tests import places
from tests.evaluation.autoattack import networks
from tests.evaluation.autoattack.test_apgd import at_distance

EPS = {"l_inf": 0.08, "l_2": 0.4}


def linear(variables: Any, x: jax.Array) -> jax.Array:
    """`networks.linear` for images in [-1, 1]."""
    return networks.linear(variables, (x + 1) / 2)


def mlp(variables: Any, x: jax.Array) -> jax.Array:
    """`networks.mlp` for images in [-1, 1]."""
    return networks.mlp(variables, (x + 1) / 2)


def some_digits(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits in [-1, 1], and their labels."""
    images, labels = networks.some_digits(number)
    return 2 * images - 1, labels


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_reaches_the_boundary_of_a_linear_classifier(norm: str) -> None:
    """Every image at a distance of 0.05 is broken with 2% more, and none with 1% less.

    In l_2 a start may lie at a right angle to the way. 50 steps of eps / 20 turn it to an angle of
    2 arctan(exp(-2.5)), whose cosine is 0.987.
    """
    variables, batch = at_distance(norm, 0.05)
    images, labels = 2 * np.asarray(batch.images) - 1, np.asarray(batch.labels)
    budgets = [Budget(eps, 2.5 * eps / 50) for eps in (0.0495, 0.051)]
    less, more = pgd.sweep(linear, variables, images, labels, budgets, norm=norm, batch_size=6)
    assert less.defended.all() and less.robust_accuracy == less.clean_accuracy == 1
    assert not more.defended.any() and (more.verdicts == BROKEN).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "path", places.golden_files("pgd/x"), ids=lambda p: p.stem if p else "none"
)
def test_steps_are_the_released_programs(path: pathlib.Path | None, norm: str, x64: None) -> None:
    """Without a random start ten steps lead where the released ones do, right and wrong alike.

    Where each point stands, the clean image first, is `defended_now`.
    """
    arrays = places.opened(path)
    m = json.loads(str(arrays["meta"]))
    network = WideResNet(m["depth"], m["width"], m["n_classes"], m["norm"], *2 * [jnp.float64])
    state = {k.removeprefix("model/"): v for k, v in arrays.items() if k.startswith("model/")}
    variables = jax.tree.map(jnp.asarray, torch_checkpoint.from_state_dict(state))
    clean = jnp.asarray((np.moveaxis(arrays["pgd/x"], 1, -1) + 1) / 2)
    labels = jnp.asarray(arrays["pgd/y"])
    sizes = (
        jnp.full(len(clean), arrays[f"pgd/{norm}/{name}_255"] / 255) for name in ("eps", "eta")
    )
    rows = ascent.Rows(clean, labels, jnp.zeros(len(clean)), *sizes)

    def logits_fn(variables: Any, x: jax.Array) -> jax.Array:
        return jnp.asarray(network.apply(variables, 2 * x - 1))

    step = jax.jit(ascent.pgd(logits_fn, norm=norm, num_steps=10, stops=False).step)
    nowhere, no = jnp.full(len(clean), -jnp.inf), jnp.zeros(len(clean), bool)
    points = [clean]
    for number in range(len(arrays[f"pgd/{norm}/defended_now"]) - 1):
        now = ascent.State(points[-1], clean, nowhere, no)
        moved = step(variables, rows, now, number)
        right = ~np.asarray(moved.broken)  # at the point that it moved from
        np.testing.assert_array_equal(right, arrays[f"pgd/{norm}/defended_now"][number])
        points.append(moved.x)
    found = 2 * np.asarray(points[-1]) - 1
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), arrays[f"pgd/{norm}/x_adv"], atol=1e-6)


@pytest.fixture(scope="module", params=NORMS)
def swept(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Digits in three balls, in batches of 5 and of 24; one of them mislabelled."""
    norm = request.param
    images, labels = some_digits(24)
    labels = labels.copy()
    labels[3] = (labels[3] + 1) % 10
    sizes = [EPS[norm] * share for share in (0.4, 1, 1.5)]
    told: list[tuple[int, int]] = []
    results = [
        pgd.sweep(
            mlp,
            networks.trained_mlp(),
            images,
            labels,
            [Budget(eps, eps / 10) for eps in sizes],
            norm=norm,
            num_steps=20,
            batch_size=size,
            progress=lambda *args: told.append(args),
        )
        for size in (5, 24)
    ]
    data = {"images": images, "labels": labels, "sizes": sizes}
    return {"norm": norm, "results": results, "told": told, **data}


def test_no_result_depends_on_the_batch_size(swept: dict[str, Any]) -> None:
    """Batches of 5 and of 24 give the same verdicts and, to rounding, the same images."""
    for few, many in zip(*swept["results"], strict=True):
        np.testing.assert_array_equal(few.verdicts, many.verdicts)
        np.testing.assert_allclose(few.adversarial, many.adversarial, atol=1e-5)


def test_what_is_given_back_is_consistent(swept: dict[str, Any]) -> None:
    """Adversarial images are misclassified, in ball and box; the others are the clean ones."""
    images, labels = swept["images"], swept["labels"]
    for eps, result in zip(swept["sizes"], swept["results"][0], strict=True):
        predicted = np.argmax(mlp(networks.trained_mlp(), jnp.asarray(result.adversarial)), axis=1)
        broken = result.verdicts == BROKEN
        assert (predicted != labels)[broken].all() and broken.any()
        np.testing.assert_array_equal(result.adversarial[~broken], images[~broken])
        moved = networks.sizes((result.adversarial - images) / 2, swept["norm"])
        assert moved.max() <= eps * (1 + 1e-5)
        assert np.abs(result.adversarial).max() <= 1
        np.testing.assert_array_equal(result.defended, result.verdicts == STANDS)
        assert result.robust_accuracy == result.defended.mean()
        assert result.verdicts[3] == MISCLASSIFIED and result.clean_accuracy == 23 / 24


def test_what_breaks_in_a_ball_stays_so_in_a_larger_one(swept: dict[str, Any]) -> None:
    """The same image then stands for it; more break from ball to ball, and not all at once."""
    results = swept["results"][0]
    shares = [result.robust_accuracy for result in results]
    assert shares == sorted(shares, reverse=True) and len(set(shares)) == 3
    for smaller, larger in itertools.pairwise(results):
        broken = smaller.verdicts == BROKEN
        assert (larger.verdicts[broken] == BROKEN).all()
        np.testing.assert_array_equal(larger.adversarial[broken], smaller.adversarial[broken])


def test_progress_grows_to_all_images_in_all_balls(swept: dict[str, Any]) -> None:
    """It is told in images times balls, never less than before, and ends at all of them."""
    told = swept["told"]
    end = told.index((72, 72))
    first = [done for done, _ in told[: end + 1]]
    assert first == sorted(first) and len(first) > 10 and {total for _, total in told} == {72}


class Killed(Exception):
    """What ends a sweep half-way."""


def kept(
    path: pathlib.Path | None, die_at: int = -1, **options: Any
) -> tuple[list[pgd.Result], list[int]]:
    """Twelve digits in three balls, two at a time; killed where so many are through, if asked."""
    images, labels = some_digits(12)
    told: list[int] = []

    def hear(done: int, total: int) -> None:
        told.append(done)
        if die_at in range(done + 1):
            raise Killed

    budgets = [Budget(eps, eps / 4) for eps in (0.03, 0.06, 0.12)]
    given: dict[str, Any] = {"images": images, "labels": labels, "budgets": budgets}
    given |= {"variables": networks.trained_mlp(), "norm": "l_inf", "num_steps": 4} | options
    return pgd.sweep(mlp, batch_size=2, checkpoint=path, progress=hear, **given), told


def test_a_killed_sweep_ends_as_an_unbroken_one(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed within two of its balls all is the same, and no image is attacked again in a ball."""
    monkeypatch.setattr(pgd, "SAVE_SECONDS", 0)
    monkeypatch.setattr(batches, "POOL", 1)
    attacked: list[int] = []
    run = Runner.__call__

    def counted(runner: Runner, rows: ascent.Rows, heard: Any) -> Any:
        attacked.append(len(rows.images))
        return run(runner, rows, heard)

    monkeypatch.setattr(Runner, "__call__", counted)
    whole, _ = kept(None)
    most, path = sum(attacked), tmp_path / "deep" / "kept.npz"
    attacked.clear()
    for die_at in (8, 20):
        with pytest.raises(Killed):
            kept(path, die_at)
    result, told = kept(path)
    assert sum(attacked) == most + 2 * 2  # the batch under way, each time
    assert told[0] == 12 and told == sorted(told) and told[-1] == 36
    for one, other in zip(result, whole, strict=True):
        np.testing.assert_array_equal(one.verdicts, other.verdicts)
        np.testing.assert_array_equal(one.adversarial, other.adversarial)
        assert one[:2] == other[:2] and one.zero_gradients == other.zero_gradients
    assert kept(path)[1] == [12, 24, 36]  # and nothing is attacked once more


def test_another_sweep_begins_anew(tmp_path: pathlib.Path) -> None:
    """A file of another seed, norm, length, size, search, image, label or network is not used."""
    path = tmp_path / "kept.npz"
    kept(path)
    before = path.read_bytes()
    images, labels = some_digits(12)
    variables = networks.trained_mlp()
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"norm": "l_2"},
        {"num_steps": 5},
        {"budgets": [Budget(eps, 0.01) for eps in (0.03, 0.06, 0.12)]},
        {"search_fn": mlp},
        {"images": images * 0.99},
        {"labels": np.array([*labels[:-1], labels[-1] - 1])},
        {"variables": jax.tree.map(lambda w: w * 1.01, variables)},
    ]
    for other in others:
        path.write_bytes(before)
        assert kept(path, **other)[1] != [12, 24, 36]
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"kept.npz: expected the saved state of an attack"):
        kept(path)


def band(variables: Any, x: jax.Array) -> jax.Array:
    """Class 1 where the first value, on [0, 1], is from 0.6 to 0.64; the slope points upwards."""
    value = (x.reshape(len(x), -1)[:, :1] + 1) / 2
    inside = jnp.where((value > 0.6) & (value < 0.64), 1.0, -1.0)
    return jnp.concatenate([0 * value, inside + 0.01 * value], axis=1)


def test_one_step_that_breaks_is_enough() -> None:
    """An ascent that only passes through a band of errors breaks the image, and leaves the point.

    Steps of 0.02 go from 0.5 to 0.7 through it; a start beyond it sees none, and stands.
    """
    images = np.zeros((40, 1, 1, 1), np.float32)
    options: dict[str, Any] = {"norm": "l_inf", "eps": 0.2, "step_size": 0.02, "batch_size": 40}
    result = pgd.run(band, None, images, np.zeros(40, int), **options)
    broken = result.verdicts == BROKEN
    found = unit(result.adversarial[broken])
    assert ((found > 0.6) & (found < 0.64)).all()
    assert 0.5 < broken.mean() < 1  # seven in ten starts lie below 0.64
    short = pgd.run(band, None, images, np.zeros(40, int), num_steps=0, **options)
    at_start = short.verdicts == BROKEN
    assert 0 < at_start.sum() < broken.sum() and broken[at_start].all()


def test_the_start_and_every_step_are_looked_at() -> None:
    """With 50 steps 51 points are: what lies where the last one leads is found, and no further.

    From 0 steps of 0.0122 pass 0.6 with the 50th.
    """
    ones = jnp.ones(1)
    keys = jax.random.split(jax.random.key(0), 1)
    zero = jnp.zeros((1, 1, 1, 1))
    rows = ascent.Rows(zero, jnp.zeros(1, int), keys, 0.62 * ones, 0.0122 * ones)
    for num_steps, broken in ((49, False), (50, True)):
        attack = ascent.pgd(of_unit(band), norm="l_inf", num_steps=num_steps, stops=False)
        attack = attack._replace(start=lambda rows: ascent._start(rows, "l_inf")._replace(x=zero))
        found, state = networks.attacked(attack, None, rows)
        assert bool(state.broken[0]) == broken
        assert found.item() == pytest.approx(0.61 if broken else 0, abs=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_starts_fill_the_ball_uniformly(norm: str) -> None:
    """In l_inf values are uniform; in l_2 the d-th power of the distance is, in all directions."""
    keys = jax.random.split(jax.random.key(0), 4000)
    shape = (4000, 1, 2, 1)
    ones = jnp.ones(4000)
    rows = ascent.Rows(jnp.full(shape, 0.5), jnp.zeros(4000, int), keys, 0.1 * ones, ones)
    delta = np.asarray(ascent._start(rows, norm).x - rows.images).reshape(4000, 2) / 0.1
    power = np.abs(delta).ravel() if norm == "l_inf" else np.sum(delta**2, axis=1)
    quantiles = np.quantile(power, [0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(quantiles, [0.1, 0.25, 0.5, 0.75, 0.9], atol=0.03)
    assert np.abs(delta.mean(axis=0)).max() < 0.04 and power.max() <= 1 + 1e-5


def test_bytes_are_images_too() -> None:
    """uint8 gives the verdicts of the same images as floats."""
    images, labels = networks.some_digits(8)
    levels = np.round(255 * images).astype(np.uint8)
    options: dict[str, Any] = {"norm": "l_inf", "eps": 0.08, "batch_size": 8}
    one = pgd.run(mlp, networks.trained_mlp(), levels, labels, **options)
    signed = (levels / np.float32(127.5) - 1).astype(np.float32)
    other = pgd.run(mlp, networks.trained_mlp(), np.clip(signed, -1, 1), labels, **options)
    np.testing.assert_array_equal(one.verdicts, other.verdicts)
    np.testing.assert_allclose(one.adversarial, other.adversarial, atol=1e-5)


def test_nothing_is_compiled_twice() -> None:
    """Other images, sizes, seeds and variables of the same shapes trace the network no more."""
    traced = 0

    def counted(variables: Any, x: jax.Array) -> jax.Array:
        nonlocal traced
        traced += 1
        return mlp(variables, x)

    images, labels = some_digits(6)
    variables = networks.trained_mlp()
    pgd.run(counted, variables, images, labels, norm="l_2", batch_size=6)
    first = traced
    other = jax.tree.map(lambda x: 2 * x, variables)
    budgets = [Budget(0.1, 0.01), Budget(0.2, 0.03)]
    pgd.sweep(counted, other, -images, labels, budgets, norm="l_2", batch_size=6, seed=3)
    assert first > 0 and traced == first


def test_only_what_the_network_confirms_is_broken() -> None:
    """A search that calls everything misclassified breaks nothing that the network gets right."""

    def constant(variables: Any, x: jax.Array) -> jax.Array:
        return jnp.array([1.0, 0, 0]) + 0 * x.reshape(len(x), -1)[:, :1]

    def liar(variables: Any, x: jax.Array) -> jax.Array:
        return -constant(variables, x) * (2 + x.mean()).astype(jnp.bfloat16)

    images, labels = np.zeros((3, 2, 2, 1), np.float32), np.zeros(3, int)
    result = pgd.run(constant, None, images, labels, norm="l_2", search_fn=liar, batch_size=3)
    assert result.defended.all()


def test_a_rounded_search_keeps_its_surest_point() -> None:
    """In bfloat16 about as much breaks, and the point kept is the one of the largest loss."""
    images, labels = some_digits(24)
    variables = networks.trained_mlp()

    def rounded(variables: Any, x: jax.Array) -> jax.Array:
        return mlp(jax.tree.map(lambda v: v.astype(jnp.bfloat16), variables), jnp.bfloat16(x))

    options: dict[str, Any] = {"norm": "l_inf", "eps": 0.08, "batch_size": 24}
    exact = pgd.run(mlp, variables, images, labels, **options)
    search = pgd.run(mlp, variables, images, labels, search_fn=rounded, **options)
    assert abs(exact.robust_accuracy - search.robust_accuracy) <= 2 / 24
    both = (exact.verdicts == BROKEN) & (search.verdicts == BROKEN)

    def loss(x: np.ndarray) -> np.ndarray:
        log_probs = jax.nn.log_softmax(mlp(variables, jnp.asarray(x)))
        return -np.asarray(log_probs)[np.arange(24), labels][both]

    assert both.any() and loss(search.adversarial).mean() > loss(exact.adversarial).mean()


def test_the_looped_form_is_the_unrolled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps in one program, as on an accelerator, end where single steps end, to rounding."""
    images, labels = networks.some_digits(8)
    keys = jax.random.split(jax.random.key(0), 8)
    values: Any = (images, labels, keys, np.full(8, 0.05, "f"), np.full(8, 0.01, "f"))
    attack = ascent.pgd(networks.mlp, norm="l_inf", num_steps=20, stops=True)
    placement = Placement(networks.trained_mlp(), 8)
    single, _ = Runner(attack, placement)(ascent.Rows(*values))
    monkeypatch.setattr(backend, "unrolls", lambda: False)
    looped, _ = Runner(attack, placement)(ascent.Rows(*values))
    np.testing.assert_allclose(looped, single, atol=1e-5)
    assert (networks.sizes(single - images, "l_inf") > 0).any()


def test_zero_gradients_are_counted() -> None:
    """A classifier of rounded images shows none, and PGD says for how many."""

    def stairs(variables: Any, x: jax.Array) -> jax.Array:
        return networks.linear(variables, jnp.round(x * 8) / 8)

    variables = networks.random_linear((3, 3, 1), 4)
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 3, 3, 1)).astype(np.float32)
    labels = np.array(jnp.argmax(stairs(variables, jnp.asarray(images)), axis=1))
    labels[0] = (labels[0] + 1) % 4  # misclassified: not attacked
    result = pgd.run(stairs, variables, images, labels, norm="l_inf", eps=0.001, batch_size=5)
    assert result.zero_gradients == 4


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"images": np.zeros((2, 2, 2, 1), int)}, TypeError, "expected uint8 images, or floats"),
        ({"images": np.full((2, 2, 2, 1), 1.5)}, ValueError, r"expected floats in \[-1, 1\]"),
        ({"images": np.zeros((2, 2, 2))}, ValueError, "expected images"),
        ({"labels": np.zeros(3, int)}, ValueError, r"labels must be integers \[2\]"),
        ({"labels": np.array([0, 7])}, ValueError, "labels must be from 0 to 2"),
        ({"norm": "l_1"}, ValueError, "norm must be one of l_inf, l_2"),
        ({"budgets": [Budget(0.2, 0.1), Budget(0.1, 0.1)]}, ValueError, "eps must grow"),
        ({"budgets": []}, ValueError, "eps must grow"),
        ({"budgets": [Budget(0.0, 0.1)]}, ValueError, "eps must be above 0"),
        ({"num_steps": -1}, ValueError, "num_steps must be at least 0"),
    ],
)
def test_what_cannot_be_attacked_is_refused_in_one_line(
    changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The error says what was expected and what was found."""
    given: dict[str, Any] = {
        "images": np.zeros((2, 2, 2, 1), np.float32),
        "labels": np.zeros(2, int),
        "budgets": [Budget(0.1, 0.1)],
        "norm": "l_inf",
    }
    given |= changed
    variables = networks.random_linear((2, 2, 1), 3)
    with pytest.raises(error, match=message) as raised:
        pgd.sweep(linear, variables, batch_size=2, **given)
    assert "\n" not in str(raised.value)
