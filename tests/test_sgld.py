"""The Langevin kernel and its chain, on densities whose every moment is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import sgld

UNBOUNDED = (-math.inf, math.inf)
MEAN, VARIANCE = 0.7, 2.0


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """No silent change of dtype in this file."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def gaussian(x: jax.Array) -> tuple[jax.Array, Any]:
    """Log-density of N(MEAN, VARIANCE) in every coordinate, up to a constant."""
    axes = tuple(range(1, x.ndim))
    return -jnp.sum(jnp.square(x - MEAN), axis=axes) / (2 * VARIANCE), {"x": x}


def bimodal(x: jax.Array) -> tuple[jax.Array, Any]:
    """A mixture's log-density, whose score is not linear."""
    return jnp.sum(jnp.logaddexp(-jnp.square(x - 1), -jnp.square(x + 1)), axis=(1, 2, 3)), None


def keys(count: int, seed: int = 0) -> jax.Array:
    """One key a row."""
    return jax.random.split(jax.random.key(seed), count)


def starts(count: int) -> jax.Array:
    """Small images, some of their values at the bounds."""
    return jnp.clip(jax.random.normal(jax.random.key(9), (count, 3, 3, 2)), -1, 1)


@pytest.mark.parametrize("num_steps", [1, 8, 120])
def test_the_law_of_the_chain_is_that_of_the_unadjusted_langevin_chain(num_steps: int) -> None:
    """With sigma^2 = 2 alpha and a Gaussian, mean and variance after K steps are the closed form.

    x' - m = c (x - m) + sqrt(2 alpha) N with c = 1 - alpha / v: the mean shrinks by c a step, and
    the variance tends to 2 alpha / (1 - c^2), the target's v but for the discretisation.
    """
    alpha = 0.3
    kernel = sgld.Langevin(alpha, math.sqrt(2 * alpha), math.inf, UNBOUNDED)
    rows, pixels = 2000, 10
    x = jnp.full((rows, pixels), 3.0)
    run = jax.jit(lambda x: sgld.sample(keys(rows), x, gaussian, kernel, num_steps=num_steps)[0])
    found = np.float64(run(x))
    c, count = 1 - alpha / VARIANCE, rows * pixels
    mean = MEAN + c**num_steps * (3.0 - MEAN)
    variance = 2 * alpha / (1 - c**2) * (1 - c ** (2 * num_steps))
    assert abs(found.mean() - mean) < 5 * math.sqrt(variance / count)
    assert abs(found.var() - variance) < 5 * variance * math.sqrt(2 / count)
    if num_steps == 120:  # stationary: alpha is small, so this is nearly the target
        assert abs(variance / VARIANCE - 1) < 0.1
        assert abs(np.mean((found - mean) ** 4) / variance**2 - 3) < 5 * math.sqrt(96 / count)


def test_ascent_without_noise_reaches_the_mode_geometrically() -> None:
    """With sigma = 0 the distance to a Gaussian's mode shrinks by 1 - alpha / v every step."""
    kernel = sgld.Langevin(0.5, 0.0, math.inf, UNBOUNDED)
    x = starts(4)
    out, info = sgld.sample(keys(4), x, gaussian, kernel, num_steps=12)
    np.testing.assert_allclose(out - MEAN, 0.75**12 * (x - MEAN), atol=1e-6)
    states = info.aux["x"]
    np.testing.assert_allclose(states[1:] - MEAN, 0.75 * (states[:-1] - MEAN), atol=1e-6)


def test_the_score_is_clipped_value_by_value() -> None:
    """A step moves by alpha times the score, clipped to +-c in every value of its own."""
    x = jnp.array([[-30.0, 0.7, 0.8, 30.0]])
    kernel = sgld.Langevin(step_size=2.0, grad_clip=0.25, bounds=UNBOUNDED)
    out, info = sgld.step(keys(1), x, gaussian, kernel)
    np.testing.assert_allclose(out - x, [[0.5, 0.0, -0.1, -0.5]], atol=2e-6)
    # the norm is of the score before its clip
    np.testing.assert_allclose(info.score_norm, [np.linalg.norm((MEAN - x[0]) / 2)], rtol=1e-6)


def test_states_stay_within_the_bounds() -> None:
    """Noise ten times the range leaves every value within the bounds, and many at them."""
    kernel = sgld.Langevin(noise_std=10.0, bounds=(-1.0, 0.5))
    out, _ = sgld.sample(keys(50), starts(50), gaussian, kernel, num_steps=2)
    assert out.min() == -1.0
    assert out.max() == 0.5
    assert jnp.mean((out == -1.0) | (out == 0.5)) > 0.8


@pytest.mark.parametrize("unroll", [True, 1])
def test_no_steps_change_nothing(unroll: bool | int) -> None:
    """K = 0 returns x to the bit, and an info of no steps."""
    x = 3 * starts(4)
    kernel = sgld.Langevin(noise_std=1.0)
    out, info = sgld.sample(keys(4), x, gaussian, kernel, num_steps=0, unroll=unroll)
    np.testing.assert_array_equal(out, x)
    assert info.log_density.shape == info.score_norm.shape == (0, 4)
    assert info.aux["x"].shape == (0, *x.shape)


def test_looped_and_unrolled_chains_agree() -> None:
    """The chain is the same to rounding, whether it is a loop or unrolled."""
    kernel = sgld.Langevin(0.3, 0.1, 0.5)

    def run(unroll: bool | int) -> Any:
        options: Any = {"num_steps": 2, "unroll": unroll}
        return jax.jit(lambda x: sgld.sample(keys(5), x, bimodal, kernel, **options))(starts(5))

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), run(1), run(True))


def test_the_noise_of_a_row_depends_on_its_key_alone() -> None:
    """Permuting the rows permutes the chains, and a row alone runs as it does among others."""
    kernel = sgld.Langevin(0.3, 0.1, 0.5)
    all_keys, x = keys(6), starts(6)

    def run(rows: np.ndarray) -> jax.Array:
        return sgld.sample(all_keys[rows], x[rows], bimodal, kernel, num_steps=3)[0]

    whole = np.asarray(run(np.arange(6)))
    for rows in ([5, 2, 0, 1, 4, 3], [4]):
        found = run(np.array(rows))
        np.testing.assert_allclose(found, whole[np.array(rows)], atol=1e-6)


def test_noise_is_fresh_in_every_row_and_step() -> None:
    """On a flat density the noises of all rows and steps are distinct and uncorrelated."""

    def flat(x: jax.Array) -> tuple[jax.Array, Any]:
        return 0 * jnp.sum(x, axis=1), x

    kernel = sgld.Langevin(noise_std=1.0, bounds=UNBOUNDED)
    x = jnp.zeros((3, 5000))
    out, info = sgld.sample(keys(3), x, flat, kernel, num_steps=3)
    states = np.concatenate([info.aux, out[None]])
    noise = np.diff(states, axis=0).reshape(9, -1)
    correlation = np.corrcoef(noise)
    assert np.abs(correlation - np.eye(9)).max() < 5 / math.sqrt(5000)


def test_other_keys_give_other_chains() -> None:
    """Two sets of keys share no noise."""
    kernel = sgld.Langevin(noise_std=0.01, bounds=UNBOUNDED)
    one, two = (
        sgld.sample(keys(4, seed), starts(4), gaussian, kernel, num_steps=1)[0] for seed in (0, 1)
    )
    assert jnp.all(one != two)


def test_the_score_is_the_gradient_of_the_batch_s_sum() -> None:
    """Where rows are coupled a row's score holds what it does to the others' log-densities."""
    weights = jnp.array([[1.0], [-2.0], [5.0]])

    def coupled(x: jax.Array) -> tuple[jax.Array, Any]:
        return x[:, 0] * jnp.sum(weights * x), None

    x = jnp.array([[0.3], [0.5], [-0.2]])
    found, (value, aux) = sgld.score(coupled, x)
    np.testing.assert_allclose(found, jnp.sum(weights * x) + jnp.sum(x) * weights, rtol=1e-6)
    np.testing.assert_allclose(value, x[:, 0] * jnp.sum(weights * x), rtol=1e-6)
    assert aux is None


def test_the_info_tells_every_step_s_start() -> None:
    """Log-density, score norm and aux are those before each step, stacked over the K steps."""
    kernel = sgld.Langevin(0.3, 0.2, math.inf, UNBOUNDED)
    x = starts(4)
    out, info = sgld.sample(keys(4), x, gaussian, kernel, num_steps=3)
    assert info.log_density.shape == info.score_norm.shape == (3, 4)
    assert info.aux["x"].shape == (3, *x.shape)
    np.testing.assert_array_equal(info.aux["x"][0], x)
    for k, state in enumerate(info.aux["x"]):
        distance = jnp.sqrt(jnp.sum(jnp.square(state - MEAN), axis=(1, 2, 3)))
        np.testing.assert_allclose(info.score_norm[k], distance / VARIANCE, rtol=1e-5)
        np.testing.assert_allclose(info.log_density[k], gaussian(state)[0], rtol=1e-5)
    assert jnp.abs(out - info.aux["x"][-1]).max() > 0.1


def test_a_single_step_is_a_chain_of_one() -> None:
    """The chain folds the step's number into the keys, and is the step otherwise."""
    kernel = sgld.Langevin(0.3, 0.2)
    x = starts(4)
    first = jax.vmap(jax.random.fold_in, (0, None))(keys(4), 0)
    by_hand, _ = sgld.step(first, x, bimodal, kernel)
    chain, _ = sgld.sample(keys(4), x, bimodal, kernel, num_steps=1)
    np.testing.assert_allclose(chain, by_hand, atol=1e-6)


@pytest.mark.parametrize("traced", [False, True])
def test_a_chain_may_be_cut_and_go_on(traced: bool) -> None:
    """Steps 0 and 1, then 2 to 4 from where they ended, are the chain of five, noise included.

    The first step's number may be traced; another number draws other noise.
    """
    kernel = sgld.Langevin(0.3, 0.1, 0.5)

    def run(x: jax.Array, first: Any, num_steps: int) -> jax.Array:
        options: Any = {"num_steps": num_steps, "first_step": first}
        return sgld.sample(keys(4), x, bimodal, kernel, **options)[0]

    call: Any = jax.jit(run, static_argnums=2) if traced else run
    halfway = call(starts(4), 0, 2)
    whole = sgld.sample(keys(4), starts(4), bimodal, kernel, num_steps=5)[0]
    np.testing.assert_allclose(call(halfway, 2, 3), whole, atol=1e-5)
    assert jnp.abs(call(halfway, 3, 3) - whole).max() > 0.05


def test_noise_first_takes_the_gradient_at_the_noised_image() -> None:
    """IGEBM's step is clip(z + alpha clip(score(z))) with z = x + sigma N, the same N as else.

    The info tells of z: there the gradient was taken.
    """
    after = sgld.Langevin(0.3, 0.2, 0.5)
    first = after._replace(noise_first=True)
    x = 0.2 * starts(4)
    flat = after._replace(grad_clip=1e-30, bounds=UNBOUNDED)
    z = sgld.step(keys(4), x, bimodal, flat)[0]  # with next to no gradient: the noise alone
    assert jnp.abs(z - x).max() > 0.1
    found, info = sgld.step(keys(4), x, bimodal, first)
    score = sgld.score(bimodal, z)[0]
    expected = jnp.clip(z + 0.3 * jnp.clip(score, -0.5, 0.5), -1, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(info.log_density, bimodal(z)[0], rtol=1e-5)
    assert jnp.abs(found - sgld.step(keys(4), x, bimodal, after)[0]).max() > 1e-3


def test_without_bounds_images_leave_the_range() -> None:
    """JEM's kernel, no clip of gradients or images, moves by the whole score, wherever to."""
    kernel = sgld.Langevin(1.0, 0.0, math.inf, UNBOUNDED)
    x = jnp.array([[-30.0, 0.9, 30.0]])
    out, _ = sgld.step(keys(1), x, gaussian, kernel)
    np.testing.assert_allclose(out, x + (MEAN - x) / VARIANCE, rtol=1e-6)
    assert jnp.abs(out).max() > 1
