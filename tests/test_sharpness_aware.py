"""SAM and ASAM against closed forms, and against optax's own SAM."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sadajem_jax.sharpness_aware import SamState, sam, sam_gradient

pytestmark = pytest.mark.versions

MATRIX = jnp.array([[2.0, -1.0, 0.5], [-1.0, 3.0, 0.0], [0.5, 0.0, 1.0]])
THETA = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([[0.5]])}


@pytest.fixture
def strict() -> Iterator[None]:
    """No silent change of dtype; only for the pure function, as optax's schedules change some."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def flat(tree: Any) -> np.ndarray:
    """The leaves as one float64 vector."""
    return np.concatenate([np.float64(leaf).ravel() for leaf in jax.tree.leaves(tree)])


def grad_fn(params: Any) -> Any:
    """Gradient A theta of the quadratic theta' A theta / 2."""
    vector, unravel = jax.flatten_util.ravel_pytree(params)
    return unravel(MATRIX @ vector)


def closed_form(eps: np.ndarray) -> np.ndarray:
    """A (theta + eps)."""
    return np.float64(MATRIX) @ (flat(THETA) + eps)


def assert_sharp(eps: np.ndarray, rho: float, **options: Any) -> None:
    """`sam_gradient` gives the gradient at theta + eps, and tells where that is."""
    found, info, aux = sam_gradient(THETA, grad_fn(THETA), grad_fn, rho, **options)
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, THETA)
    np.testing.assert_allclose(flat(found), closed_form(eps), rtol=1e-5)
    np.testing.assert_allclose(flat(info.perturbed), flat(THETA) + eps, rtol=1e-5)
    assert aux is None


G = closed_form(np.zeros(3))


@pytest.mark.usefixtures("strict")
def test_sam_is_the_closed_form_on_a_quadratic() -> None:
    """SAM gives A (theta + rho g / |g|), the norm over all leaves together (Eq. 7)."""
    assert_sharp(0.7 * G / np.linalg.norm(G), 0.7)
    _, info, _ = sam_gradient(THETA, grad_fn(THETA), grad_fn, 0.7)
    np.testing.assert_allclose(info.norm, np.linalg.norm(G), rtol=1e-6)


@pytest.mark.usefixtures("strict")
def test_asam_is_the_released_closed_form_for_p_2() -> None:
    """ASAM with p = 2 has eps = rho theta^2 g / | |theta| g | (the released form of Eq. 8)."""
    theta = flat(THETA)
    eps = 0.7 * theta**2 * G / np.linalg.norm(np.abs(theta) * G)
    assert_sharp(eps, 0.7, adaptive=True)
    _, info, _ = sam_gradient(THETA, grad_fn(THETA), grad_fn, 0.7, adaptive=True)
    np.testing.assert_allclose(info.norm, np.linalg.norm(np.abs(theta) * G), rtol=1e-6)


@pytest.mark.usefixtures("strict")
def test_asam_is_the_printed_closed_form_for_p_infinity() -> None:
    """ASAM with p = infinity has eps = rho |theta| sign(g) (the paper's text); SAM rho sign(g)."""
    assert_sharp(0.7 * np.abs(flat(THETA)) * np.sign(G), 0.7, adaptive=True, p=math.inf)
    assert_sharp(0.7 * np.sign(G), 0.7, p=math.inf)


def test_other_balls_are_refused() -> None:
    """The ball is that of p = 2 or infinity, no other."""
    with pytest.raises(ValueError, match="found 1"):
        sam_gradient(THETA, THETA, grad_fn, 0.1, p=1)


@pytest.mark.parametrize("options", [{}, {"adaptive": True}, {"adaptive": True, "p": math.inf}])
@pytest.mark.usefixtures("strict")
def test_rho_0_gives_the_plain_gradient(options: dict[str, Any]) -> None:
    """With rho = 0 nothing moves: the gradient is that at theta, to the bit."""
    found, info, _ = sam_gradient(THETA, grad_fn(THETA), grad_fn, 0.0, **options)
    jax.tree.map(np.testing.assert_array_equal, info.perturbed, THETA)
    jax.tree.map(np.testing.assert_array_equal, found, grad_fn(THETA))


@pytest.mark.parametrize("options", [{}, {"adaptive": True}, {"adaptive": True, "p": math.inf}])
@pytest.mark.usefixtures("strict")
def test_a_zero_gradient_moves_nothing(options: dict[str, Any]) -> None:
    """Where the gradient is zero the parameters stay and all is finite, compiled or not."""
    zero = jax.tree.map(jnp.zeros_like, THETA)

    def run(g: Any) -> Any:
        return sam_gradient(THETA, g, grad_fn, 0.5, **options)

    for call in (run, jax.jit(run)):
        found, info, _ = call(zero)
        assert np.isfinite(info.norm)
        jax.tree.map(np.testing.assert_array_equal, info.perturbed, THETA)
        np.testing.assert_allclose(flat(found), G, rtol=1e-6)


def test_zero_parameters_are_not_moved_by_asam() -> None:
    """ASAM's ball has no extent where a parameter is zero; all zero is finite too."""
    theta = {**THETA, "b": jnp.zeros((1, 1))}
    _, info, _ = sam_gradient(theta, grad_fn(THETA), grad_fn, 0.5, adaptive=True)
    np.testing.assert_array_equal(info.perturbed["b"], 0)
    zero = jax.tree.map(jnp.zeros_like, THETA)
    found, info, _ = sam_gradient(zero, grad_fn(THETA), grad_fn, 0.5, adaptive=True)
    np.testing.assert_array_equal(flat(info.perturbed), 0)
    np.testing.assert_array_equal(flat(found), 0)


@pytest.mark.parametrize("as_function", [False, True])
@pytest.mark.usefixtures("strict")
def test_the_mask_leaves_leaves_unperturbed(as_function: bool) -> None:
    """A masked leaf is not moved and does not count in the norm, but has its gradient."""
    tree = {"a": True, "b": False}
    mask = (lambda params: {"a": params["a"].size > 1, "b": False}) if as_function else tree
    eps = np.array([G[0], G[1], 0])
    assert_sharp(0.7 * eps / np.linalg.norm(eps), 0.7, mask=mask)


@pytest.mark.usefixtures("strict")
def test_aux_of_the_second_pass_is_returned() -> None:
    """With has_aux the gradient function's second result comes back, from the perturbed point."""
    found, info, aux = sam_gradient(
        THETA, grad_fn(THETA), lambda p: (grad_fn(p), {"here": p}), 0.3, has_aux=True
    )
    jax.tree.map(np.testing.assert_array_equal, aux["here"], info.perturbed)
    np.testing.assert_allclose(flat(found), flat(grad_fn(info.perturbed)), rtol=1e-6)


def test_the_norm_of_bfloat16_gradients_is_summed_in_float32() -> None:
    """10,007 bfloat16 ones have the norm sqrt(10007), which bfloat16 cannot hold."""
    params = {"w": jnp.ones(10_007, jnp.bfloat16)}
    found, info, _ = sam_gradient(params, params, lambda p: p, 100.0)
    assert info.norm.dtype == jnp.float32
    np.testing.assert_allclose(info.norm, math.sqrt(10_007), rtol=1e-6)
    assert found["w"].dtype == info.perturbed["w"].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(info.perturbed["w"]), 2.0, rtol=2**-8)


def test_gradients_of_mixed_dtypes_share_one_norm() -> None:
    """bfloat16 and float32 leaves are perturbed together, each in its parameter's dtype."""
    params = {"a": jnp.array([3.0], jnp.bfloat16), "b": jnp.array([4.0])}
    _, info, _ = sam_gradient(params, params, lambda p: p, 5.0)
    np.testing.assert_allclose(info.norm, 5.0)
    assert jax.tree.map(lambda x: x.dtype, info.perturbed) == jax.tree.map(
        lambda x: x.dtype, params
    )
    np.testing.assert_allclose(flat(info.perturbed), [6.0, 8.0])


def test_a_whole_radius_is_a_radius() -> None:
    """An integer rho gives what the same number as a float gives, in every form."""
    for options in ({}, {"adaptive": True}, {"p": math.inf}, {"adaptive": True, "p": math.inf}):
        for rho in (1, jnp.asarray(1)):
            whole, _, _ = sam_gradient(THETA, grad_fn(THETA), grad_fn, rho, **options)
            expected, _, _ = sam_gradient(THETA, grad_fn(THETA), grad_fn, 1.0, **options)
            jax.tree.map(np.testing.assert_array_equal, whole, expected)


# ---- the optax transform


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """A small nonlinear regression."""
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    return jnp.mean(jnp.square(hidden @ params["w2"] - y))


@pytest.fixture
def problem() -> tuple[Any, Any]:
    """(parameters, gradient function) of the regression."""
    k = jax.random.split(jax.random.key(0), 5)
    params = {
        "w1": jax.random.normal(k[0], (4, 6)),
        "b1": jax.random.normal(k[1], (6,)),
        "w2": jax.random.normal(k[2], (6, 2)),
    }
    x, y = jax.random.normal(k[3], (16, 4)), jax.random.normal(k[4], (16, 2))
    return params, lambda p: jax.grad(loss)(p, x, y)


def train(tx: Any, params: Any, gradient: Any, second: Any, steps: int = 6) -> Any:
    """Parameters after some compiled steps."""

    @jax.jit
    def step(params: Any, state: Any) -> tuple[Any, Any]:
        updates, state = tx.update(gradient(params), state, params, grad_fn=second)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params


def test_the_transform_agrees_with_optax_s_sam(problem: tuple[Any, Any]) -> None:
    """Six steps of momentum SGD are those of optax.contrib.sam in its opaque mode."""
    params, gradient = problem
    rho = 0.2
    ours = optax.chain(sam(rho), optax.sgd(0.3, momentum=0.9))
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(rho))
    theirs = optax.contrib.sam(optax.sgd(0.3, momentum=0.9), ascent, opaque_mode=True)
    expected = train(theirs, params, gradient, lambda p, _: gradient(p))
    found = train(ours, params, gradient, gradient)
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-4, atol=1e-5)
    plain = train(optax.chain(sam(0.0), optax.sgd(0.3, momentum=0.9)), params, gradient, gradient)
    assert np.abs(flat(plain) - flat(expected)).max() > 1e-3  # or the test could not fail


def test_the_transform_is_the_pure_function(problem: tuple[Any, Any]) -> None:
    """`sam` replaces the gradient by `sam_gradient`'s, for all its options, and keeps its norm."""
    params, gradient = problem
    mask = {"w1": True, "b1": False, "w2": True}
    tx = sam(0.5, adaptive=True, p=2, mask=mask)
    state = tx.init(params)
    assert state == SamState(norm=jnp.zeros(()))
    found, state = tx.update(gradient(params), state, params, grad_fn=gradient)
    expected, info, _ = sam_gradient(
        params, gradient(params), gradient, 0.5, adaptive=True, mask=mask
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    np.testing.assert_array_equal(state.norm, info.norm)


def test_weight_decay_enters_in_the_outer_update_only() -> None:
    """Behind `sam` weight decay adds wd theta to the sharp gradient and shapes no ascent."""
    tx = optax.chain(sam(0.7), optax.add_decayed_weights(0.1), optax.sgd(0.5))
    updates, _ = tx.update(grad_fn(THETA), tx.init(THETA), THETA, grad_fn=grad_fn)
    sharp = closed_form(0.7 * G / np.linalg.norm(G))
    np.testing.assert_allclose(flat(updates), -0.5 * (sharp + 0.1 * flat(THETA)), rtol=1e-5)


def test_what_stands_upstream_shapes_the_ascent_only() -> None:
    """Clipping before `sam` turns the ascent and leaves the descent's gradient as it is."""
    tx = optax.chain(optax.clip(0.1), sam(0.7))
    found, _ = tx.update(grad_fn(THETA), tx.init(THETA), THETA, grad_fn=grad_fn)
    clipped = np.clip(G, -0.1, 0.1)
    expected = closed_form(0.7 * clipped / np.linalg.norm(clipped))
    np.testing.assert_allclose(flat(found), expected, rtol=1e-5)


def test_multi_steps_after_it_averages_the_sharp_gradients() -> None:
    """With MultiSteps after `sam` two batches give one step along the mean of their SAM gradients.

    Each has its own ascent; the parameters and the ascent's start stay until the second.
    """
    scales, rho, rate = (1.0, 3.0), 0.7, 0.5
    outer = optax.MultiSteps(optax.sgd(rate), every_k_schedule=2)
    tx = optax.chain(sam(rho), outer.gradient_transformation())
    params, state = THETA, tx.init(THETA)
    for scale in scales:

        def gradient(p: Any, scale: float = scale) -> Any:
            return jax.tree.map(lambda g, w: scale * g + w, grad_fn(p), p)

        updates, state = tx.update(gradient(params), state, params, grad_fn=gradient)
        before, params = params, optax.apply_updates(params, updates)
        if scale == scales[0]:
            jax.tree.map(np.testing.assert_array_equal, params, before)
    theta, sharp = flat(THETA), []
    for scale in scales:
        hessian = scale * np.float64(MATRIX) + np.eye(3)
        ascent = hessian @ theta
        sharp.append(hessian @ (theta + rho * ascent / np.linalg.norm(ascent)))
    np.testing.assert_allclose(flat(params), theta - rate * np.mean(sharp, axis=0), rtol=1e-5)


@pytest.mark.parametrize("wrap", ["masked", "multi_transform"])
def test_inside_a_mask_the_error_says_what_to_do(wrap: str) -> None:
    """Inside optax.masked or multi_transform half a tree arrives: the error names the remedy."""
    if wrap == "masked":
        tx = optax.masked(sam(0.1), {"a": True, "b": False})
    else:
        groups = {"sharp": sam(0.1), "rest": optax.identity()}
        tx = optax.multi_transform(groups, {"a": "sharp", "b": "rest"})
    with pytest.raises(ValueError, match=r"MaskedNode.*sam\(rho, mask="):
        tx.update(grad_fn(THETA), tx.init(THETA), THETA, grad_fn=grad_fn)


def test_a_missing_second_pass_is_an_error_that_shows_the_call() -> None:
    """Without params or grad_fn the error shows how to call update."""
    tx = sam(0.1)
    state = tx.init(THETA)
    with pytest.raises(ValueError, match=r"tx.update\(grads, state, params, grad_fn="):
        tx.update(THETA, state, THETA)
    with pytest.raises(ValueError, match=r"tx.update\(grads, state, params, grad_fn="):
        tx.update(THETA, state, grad_fn=grad_fn)


def test_a_negative_radius_is_refused() -> None:
    """A radius below 0, or one that is no number, is an error that names it."""
    with pytest.raises(ValueError, match=r"at least 0, found -0\.1"):
        sam(-0.1)
    with pytest.raises(ValueError, match="at least 0, found nan"):
        sam(math.nan)


def test_the_radius_follows_a_schedule() -> None:
    """Under inject_hyperparams and jit each step's gradient is that of its own rho."""
    tx = optax.inject_hyperparams(sam)(rho=lambda count: 0.5 * count)
    update = jax.jit(lambda state: tx.update(grad_fn(THETA), state, THETA, grad_fn=grad_fn))
    state = tx.init(THETA)
    for count in range(3):
        found, state = update(state)
        expected = closed_form(0.5 * count * G / np.linalg.norm(G))
        np.testing.assert_allclose(flat(found), expected, rtol=1e-5)


def test_a_scheduled_radius_has_the_other_options() -> None:
    """Named as static, ball and mask are with a schedule what they are without."""
    options: Any = {"adaptive": True, "p": math.inf, "mask": lambda _: {"a": True, "b": False}}
    make = optax.inject_hyperparams(sam, static_args=("p", "mask"))
    results = []
    for tx in (make(rho=lambda count: 0.5 + count, **options), sam(0.5, **options)):
        update = jax.jit(lambda state, tx=tx: tx.update(THETA, state, THETA, grad_fn=grad_fn)[0])
        results.append(update(tx.init(THETA)))
    np.testing.assert_allclose(flat(results[0]), flat(results[1]), rtol=1e-6)
