"""The gradient through a purifying chain: closed forms, finite differences, jax.checkpoint."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadajem_jax import energy, sgld
from sadajem_jax.evaluation import flops, networks
from sadajem_jax.evaluation.autoattack.batches import Placement
from sadajem_jax.evaluation.robustness.purification import chain, expectation, purifier
from sadajem_jax.evaluation.robustness.purification.expectation import Ascent, Expectation
from sadajem_jax.evaluation.robustness.purification.purifier import Purifier
from sadajem_jax.wide_resnet import WideResNet
from tests.evaluation.robustness import purified

KEY = jax.random.key(0)


def ascent(
    function: Any,
    variables: Any,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    num_steps: int,
    kernel: sgld.Langevin = purified.FREE,
    chains: int = 1,
    batch_size: int = 8,
    segment: int | None = None,
    through_chain: bool = True,
) -> Ascent:
    """The loss's gradient at x."""
    placement = Placement(variables, batch_size, devices=jax.local_devices()[:1])
    rows = Purifier(function, kernel, num_steps, placement, segment=segment)
    made = Expectation(rows, chains)
    return made.ascent(x, labels, np.arange(len(x)), KEY, through_chain=through_chain)


def value(found: Ascent) -> np.ndarray:
    """The gradient itself, [n, D]."""
    flat = found.gradient.reshape(len(found.gradient), -1)
    return np.ldexp(flat, found.exponent[:, None])


def textbook(
    function: Any,
    kernel: sgld.Langevin,
    variables: Any,
    x: jax.Array,
    labels: jax.Array,
    num_steps: int,
    chains: int,
) -> jax.Array:
    """The summed loss of averaged logits behind the chain: a scan over jax.checkpoint(step)."""
    image, number = np.divmod(np.arange(len(x) * chains), chains)
    keys = jax.vmap(lambda i, n: jax.random.fold_in(jax.random.fold_in(KEY, i), n))(image, number)

    def log_density(x: jax.Array) -> tuple[jax.Array, None]:
        return energy.log_density(function(variables, x)), None

    @jax.checkpoint
    def step(x: jax.Array, t: jax.Array) -> tuple[jax.Array, None]:
        keys_t = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
        return sgld.step(keys_t, x, log_density, kernel)[0], None

    end, _ = jax.lax.scan(step, jnp.repeat(x, chains, axis=0), jnp.arange(num_steps))
    logits = function(variables, end).reshape(len(x), chains, -1).mean(axis=1)
    return energy.cross_entropy(logits, labels).sum()


@pytest.mark.parametrize("segment", [1, 3])
def test_the_full_gradient_is_the_closed_form(segment: int) -> None:
    """On a quadratic energy it is the loss's at the chain's end, times the chain's known Jacobian.

    The rates differ from value to value, and some turn the sign at each step.
    """
    model, x = purified.quadratic(np.linspace(-0.4, 1.7, 9)), purified.images(5)
    labels = np.arange(5) % 3
    end = model.end(x, 7)
    at_end = model.loss_gradient(end, labels)
    jacobian = (1 - model.rates) ** 7
    found = ascent(purified.logits, model.variables(), x, labels, num_steps=7, segment=segment)
    np.testing.assert_allclose(value(found), jacobian * at_end, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.argmax(found.logits, axis=1), model.predict(end))


def test_bpda_is_the_gradient_at_the_chain_s_end() -> None:
    """The purifier's backward pass is the identity: no Jacobian stands before the loss's."""
    model, x = purified.quadratic(np.linspace(-0.4, 1.7, 9)), purified.images(5)
    labels = np.arange(5) % 3
    at_end = model.loss_gradient(model.end(x, 7), labels)
    found = ascent(purified.logits, model.variables(), x, labels, num_steps=7, through_chain=False)
    np.testing.assert_allclose(value(found), at_end, rtol=1e-4, atol=1e-6)


def test_chains_with_noise_are_averaged() -> None:
    """The loss is of the averaged logits, its gradient the mean of the chains', as drawn.

    With a linear classifier and a known chain, averaged logits are those of the averaged ends, and
    the noise that a chain of this key draws can be added by hand.
    """
    model, x, labels = purified.quadratic(0.3), purified.images(2), np.array([0, 2])
    kernel = purified.FREE._replace(noise_std=0.5)
    found = ascent(
        purified.logits, model.variables(), x, labels, num_steps=2, chains=3, kernel=kernel
    )
    ends = np.empty((2, 3, 9))
    for image, number in np.ndindex(2, 3):
        key = jax.random.fold_in(jax.random.fold_in(KEY, image), number)
        noise = [
            np.asarray(jax.random.normal(jax.random.fold_in(key, t), purified.SHAPE)).ravel()
            for t in range(2)
        ]
        end = 0.7 * (0.7 * x[image].ravel() + 0.5 * noise[0]) + 0.5 * noise[1]
        ends[image, number] = end
    z = ends @ model.w
    z = z - np.log(np.exp(z).sum(axis=2, keepdims=True)) - 0.15 * (ends**2).sum(2)[..., None]
    np.testing.assert_allclose(found.logits, z.mean(axis=1), rtol=1e-4, atol=1e-5)
    p = np.exp(z.mean(axis=1)) / np.exp(z.mean(axis=1)).sum(axis=1, keepdims=True)
    own = np.exp(z) / np.exp(z).sum(axis=2, keepdims=True)
    cotangent = p - np.eye(3)[labels]  # of each chain's logits, over 3; its sum is 0
    at_end = (cotangent[:, None] - own * cotangent.sum(1)[:, None, None]) @ model.w.T
    np.testing.assert_allclose(value(found), 0.49 * at_end.mean(axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clip", [True, False])
def test_it_agrees_with_finite_differences(x64: None, clip: bool) -> None:
    """In float64, along random directions of a smooth network, to 1e-6; also where clips bind."""
    variables = purified.mlp_variables(np.float64)
    kernel = sgld.Langevin(0.3, 0.1, 0.4, (-1, 1)) if clip else purified.FREE
    keys = jax.random.split(KEY, 4)
    x = jnp.asarray(purified.images(4, within=1.0), jnp.float64)
    weights = jnp.asarray(np.random.default_rng(4).normal(size=(4, 3)))

    run = functools.partial(chain.purify, purified.mlp, kernel, variables, keys, num_steps=4)
    back = functools.partial(chain.pull, purified.mlp, kernel, variables, keys, num_steps=4)

    @jax.jit
    def loss(x: jax.Array) -> jax.Array:
        return jnp.sum(weights * purified.mlp(variables, run(x, 0)), axis=1)

    @jax.jit
    def gradient(x: jax.Array) -> jax.Array:
        _, pullback = jax.vjp(functools.partial(purified.mlp, variables), run(x, 0))
        v, exponent = back(x, 0, pullback(weights)[0], jnp.zeros(4, jnp.int32))
        return jnp.ldexp(v, exponent[:, None, None, None])

    direction = np.random.default_rng(5).normal(size=x.shape)
    tiny = 1e-6 * direction
    slope = (loss(x + tiny) - loss(x - tiny)) / 2e-6
    found = np.asarray(gradient(x))
    np.testing.assert_allclose((found * direction).sum(axis=(1, 2, 3)), slope, rtol=1e-6, atol=1e-7)
    # where the first step leaves the box, nothing passes
    assert bool(np.any(found == 0)) is clip


def test_both_forms_are_the_checkpointed_gradient() -> None:
    """Step by step and in looped segments, through convolutions, clips and noise: to rounding.

    The reference is jax.grad of a scan over jax.checkpoint(step). BPDA's gradient is another one.
    """
    variables, x = purified.conv_variables(), purified.images(3, within=1.0)
    labels, kernel = np.array([0, 1, 2]), sgld.Langevin(1.0, 0.05, 0.1)

    def loss(x: jax.Array) -> jax.Array:
        return textbook(purified.conv, kernel, variables, x, jnp.asarray(labels), 4, 2)

    flat = np.asarray(jax.jit(jax.grad(loss))(x)).reshape(3, -1)

    def error(segment: int, through_chain: bool) -> float:
        found = ascent(
            purified.conv,
            variables,
            x,
            labels,
            num_steps=4,
            kernel=kernel,
            chains=2,
            batch_size=6,
            segment=segment,
            through_chain=through_chain,
        )
        return float(np.abs(value(found) - flat).max() / np.abs(flat).max())

    assert error(1, True) < 1e-5
    assert error(2, True) < 1e-5
    assert error(1, False) > 1e-2


@pytest.mark.parametrize("num_steps", [1, 4])
def test_a_step_back_is_two_gradients(num_steps: int) -> None:
    """By the operations of the traced programs: a step is a gradient, its way back is two.

    In a segment of many steps it is one more.
    """
    network, kernel = WideResNet(10, 1, 10), sgld.Langevin()
    x = jax.ShapeDtypeStruct((3, 8, 8, 1), np.float32)
    variables = jax.eval_shape(network.init, KEY, x)
    function = networks.logits_fn(network)
    keys, exponent = jax.random.split(KEY, 3), jnp.zeros(3, int)
    there = functools.partial(chain.purify, function, kernel, num_steps=num_steps)
    back = functools.partial(chain.pull, function, kernel, num_steps=num_steps)

    def score(variables: Any, x: jax.Array) -> jax.Array:
        return sgld.score(lambda x: (energy.log_density(function(variables, x)), None), x)[0]

    gradient = flops.count(score, variables, x).flop
    ahead = flops.count(lambda v, x: there(v, keys, x, 0), variables, x).flop
    behind = flops.count(lambda v, x: back(v, keys, x, 0, x, exponent), variables, x).flop
    assert ahead == num_steps * gradient
    expected = num_steps * purifier.gradients_a_step(num_steps) * gradient
    assert ahead + behind == pytest.approx(expected, rel=0.02)


def test_long_chains_neither_overflow_nor_vanish() -> None:
    """Where 200 Jacobians multiply to 3^200 or 0.2^200, beyond float32, it is the closed form."""
    for rate in (-2.0, 0.8):
        model = purified.quadratic(rate)
        start = np.zeros(
            (2, *purified.SHAPE), np.float32
        )  # where the chain stays, so that no value overflows
        found = ascent(purified.logits, model.variables(), start, np.array([0, 1]), num_steps=200)
        at_end = model.loss_gradient(np.zeros((2, 9)), np.array([0, 1]))
        size = np.abs(at_end).max(axis=1, keepdims=True)
        flat = found.gradient.reshape(2, -1)
        np.testing.assert_allclose(
            flat / np.abs(flat).max(axis=1, keepdims=True), at_end / size, rtol=0, atol=1e-4
        )
        bits = np.log2(np.abs(flat).max(axis=1)) + found.exponent
        np.testing.assert_allclose(
            bits, 200 * np.log2(abs(1 - rate)) + np.log2(size[:, 0]), rtol=1e-4
        )


def test_a_confident_network_hides_no_gradient() -> None:
    """Where softmax is 1 in float32 and its cross-entropy's gradient 0, the direction is known."""
    model, x = purified.quadratic(0.1), purified.images(3)
    sure = model._replace(w=300 * model.w)
    labels = sure.predict(sure.end(x, 2))
    found = ascent(purified.logits, sure.variables(), x, labels, num_steps=2)
    z = found.logits - found.logits.max(axis=1, keepdims=True)
    assert np.sort(z, axis=1)[:, -2].max() < -20
    second = np.argsort(z, axis=1)[:, -2]
    towards = (sure.w[:, second] - sure.w[:, labels]).T
    np.testing.assert_array_equal(np.sign(found.gradient.reshape(3, -1)), np.sign(towards))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(-400, 400), min_size=2, max_size=5),
    st.integers(0, 2**31 - 1),
)
def test_sums_over_chains_are_exact_at_any_scale(exponents: list[int], seed: int) -> None:
    """Summing v 2^exponent over chains gives what exact fractions give, relative to the largest."""
    from fractions import Fraction

    v = np.random.default_rng(seed).normal(size=(1, len(exponents), 2)).astype(np.float32)
    v[0, 0] = 0
    total, common = expectation.summed(v, np.array([exponents]))
    terms = [
        [Fraction(float(value)) * Fraction(2) ** e for value in v[0, i]]
        for i, e in enumerate(exponents)
    ]
    largest = max(Fraction(2) ** e for e in exponents[1:])
    for column in range(2):
        exact = sum(row[column] for row in terms)
        found = Fraction(float(total[0, column])) * Fraction(2) ** int(common[0])
        assert abs(found - exact) <= largest * Fraction(1, 10**12)


def test_purified_rows_are_training_s_chain() -> None:
    """Cut into segments of 3, 3 and 1 the rows end where `sgld.sample` with their keys ends."""
    model, x = purified.quadratic(0.3), purified.images(4)
    kernel = sgld.Langevin(0.5, 0.2)
    number = np.array([0, 1, 2, 0])
    keys = jax.vmap(lambda i, n: jax.random.fold_in(jax.random.fold_in(KEY, i), n))(
        np.arange(4), number
    )

    def log_density(x: jax.Array) -> tuple[jax.Array, None]:
        return energy.log_density(purified.logits(model.variables(), x)), None

    expected = jax.jit(lambda x: sgld.sample(keys, x, log_density, kernel, num_steps=7)[0])(x)
    placement = Placement(model.variables(), 6, devices=jax.local_devices()[:1])
    made = Purifier(purified.logits, kernel, 7, placement, segment=3)
    trace = made.trace(x, KEY, np.arange(4), number)
    np.testing.assert_allclose(trace.states[-1][:4], expected, atol=1e-6)
    assert len(trace.states) == 4  # what a gradient keeps
