"""Projections: into ball and box, and the nearest point of a hyperplane within the box."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from sadajem_jax.evaluation.autoattack import projections
from tests.evaluation.autoattack.networks import sizes

SHAPE = (2, 2, 3, 1)
VALUES = 6
in_box = arrays.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))
anything = arrays.arrays(np.float32, SHAPE, elements=st.floats(-3, 3, width=32))
# Gradients, many of them 0; none so small that float32 could not tell it from nothing.
gradients = arrays.arrays(
    np.float32, SHAPE, elements=st.sampled_from([0, 0, 1e-3, -0.02, 0.3, -0.5, 1, -1, 2.5, -40])
)
onto_ball = jax.jit(projections.onto_ball, static_argnums=(2, 3))
to_hyperplane = jax.jit(projections.to_hyperplane, static_argnums=3)


@pytest.mark.parametrize("norm", projections.NORMS)
@given(x=anything, centre=in_box)
@settings(deadline=None, max_examples=60)
def test_the_ball_holds_all_and_leaves_the_inside_alone(
    norm: str, x: np.ndarray, centre: np.ndarray
) -> None:
    """What is projected lies within eps and the box, and stays when projected again."""
    eps = 0.25
    found = np.asarray(onto_ball(x, centre, norm, eps))
    assert found.min() >= 0 and found.max() <= 1
    assert (sizes(found - centre, norm) <= eps * (1 + 1e-5)).all()
    np.testing.assert_allclose(onto_ball(found, centre, norm, eps), found, atol=1e-6)
    inside = centre + (x - centre) * 0.01  # within 0.04 sqrt(6) of the centre
    expected = np.clip(inside, 0, 1)
    np.testing.assert_allclose(onto_ball(inside, centre, norm, eps), expected, atol=1e-6)


def test_the_l_2_ball_is_reached_along_the_ray() -> None:
    """A point outside goes to the sphere on the line to the centre, by hand."""
    centre = jnp.full((1, 1, 1, 2), 0.5)
    x = centre + jnp.array([3.0, 4.0])
    np.testing.assert_allclose(
        projections.onto_ball(x, centre, "l_2", 0.25)[0, 0, 0], [0.65, 0.7], rtol=1e-6
    )


def nearest(x: np.ndarray, normal: np.ndarray, excess: float, norm: str) -> Any:
    """One image's smallest step by a general solver, or None where there is none."""
    bounds = np.stack([-x, 1 - x], axis=1).astype(np.float64)
    reach = (
        np.where(normal > 0, bounds[:, 0], bounds[:, 1]),
        np.where(normal > 0, bounds[:, 1], bounds[:, 0]),
    )
    if not normal @ reach[0] <= -excess <= normal @ reach[1]:
        return None
    if norm == "l_inf":  # minimise t with -t <= step <= t
        eye, ones = np.eye(len(x)), np.ones((len(x), 1))
        return scipy.optimize.linprog(
            [0.0] * len(x) + [1.0],
            A_ub=np.block([[eye, -ones], [-eye, -ones]]),
            b_ub=np.zeros(2 * len(x)),
            A_eq=[[*normal, 0.0]],
            b_eq=[-excess],
            bounds=[*bounds, (0, None)],
        ).x[:-1]

    def gain(length: float) -> Any:
        return normal @ np.clip(-length * normal, *bounds.T) + excess

    far = np.sign(excess) * 1e7
    length = scipy.optimize.brentq(gain, 0, far, xtol=1e-300, rtol=1e-15, maxiter=2000)
    return np.clip(-length * normal, *bounds.T)


@pytest.mark.parametrize("norm", projections.NORMS)
@given(x=in_box, normal=gradients, share=st.floats(-1.3, 1.3))
@settings(deadline=None, max_examples=150)
def test_the_nearest_point_of_the_hyperplane(
    norm: str, x: np.ndarray, normal: np.ndarray, share: float
) -> None:
    """The step stays in the box, ends on the hyperplane if the box meets it, and none is shorter.

    Shorter ones are looked for by linear programming and by bisection in float64.
    """
    w = normal.astype(np.float64).reshape(2, -1)
    excess = share * np.abs(w).sum(axis=1) / 2  # so that some hyperplanes miss the box
    step = np.asarray(to_hyperplane(x, normal, np.float32(excess), norm))
    assert ((x + step) >= -1e-6).all() and ((x + step) <= 1 + 1e-6).all()
    assert (step[normal == 0] == 0).all()
    steps = np.float64(step).reshape(2, -1)
    for i in range(2):
        scale = np.abs(w[i]).max() + 1e-9
        best = nearest(np.float64(x[i]).ravel(), w[i], excess[i], norm)
        if best is None:  # all the way to the corner that is nearest to the hyperplane
            left = abs(excess[i] + w[i] @ steps[i])
            corner = np.where((w[i] > 0) == (excess[i] >= 0), 0, 1) - np.float64(x[i]).ravel()
            assert left <= abs(excess[i] + w[i] @ corner) + 1e-5 * scale
            continue
        assert abs(excess[i] + w[i] @ steps[i]) <= 2e-5 * scale
        order = np.inf if norm == "l_inf" else 2
        assert np.linalg.norm(steps[i], order) <= np.linalg.norm(best, order) + 2e-5


@pytest.mark.parametrize("norm", projections.NORMS)
def test_a_hyperplane_in_many_dimensions_is_reached(norm: str) -> None:
    """3,072 values of all scales end on the hyperplane to rounding, each row by itself."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(5, 32, 32, 3)).astype(np.float32)
    normal = (rng.normal(size=x.shape) * 10 ** rng.uniform(-6, 0, x.shape)).astype(np.float32)
    weight = np.abs(normal.astype(np.float64)).reshape(5, -1).sum(axis=1)
    excess = (weight * [0.3, -0.3, 0.05, 1e-6, 0]).astype(np.float32)
    step = np.asarray(to_hyperplane(x, normal, excess, norm))
    left = excess + (np.float64(normal) * step).reshape(5, -1).sum(axis=1)
    assert (np.abs(left) <= 1e-6 * weight).all()
    alone = to_hyperplane(x[1:2], normal[1:2], excess[1:2], norm)
    np.testing.assert_allclose(step[1:2], alone, atol=1e-7)


@pytest.mark.parametrize("norm", projections.NORMS)
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
def test_the_scale_of_a_gradient_is_nothing(norm: str, scale: float) -> None:
    """Gradients of any scale give finite steps; above 1e-12 the very same ones."""
    rng = np.random.default_rng(1)
    x, normal = rng.uniform(size=SHAPE), rng.normal(size=SHAPE)
    excess = 0.2 * np.abs(normal).reshape(2, -1).sum(axis=1)
    step = to_hyperplane(*map(np.float32, (x, normal * scale, excess * scale)), norm)
    assert np.isfinite(step).all()
    if scale > 1e-12:
        same = to_hyperplane(*map(np.float32, (x, normal, excess)), norm)
        np.testing.assert_allclose(step, same, rtol=1e-4, atol=1e-6)
