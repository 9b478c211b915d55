"""No attack ever leaves ball or box, whatever the image, the network and the size."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadajem_jax.evaluation.autoattack import losses
from sadajem_jax.evaluation.autoattack.apgd import apgd
from sadajem_jax.evaluation.autoattack.attack import Attack
from sadajem_jax.evaluation.autoattack.fab import fab
from sadajem_jax.evaluation.autoattack.projections import NORMS
from sadajem_jax.evaluation.autoattack.square import square
from sadajem_jax.evaluation.robustness import ascent
from tests.evaluation.autoattack import networks

SHAPE = (4, 5, 1)
STEPS = 8
MADE: dict[str, Callable[[str], Attack]] = {
    "apgd": lambda norm: apgd(networks.linear, losses.dlr, norm=norm),
    "fab": lambda norm: fab(networks.linear, norm=norm),
    "square": lambda norm: square(networks.linear, SHAPE, norm=norm),
    "pgd": lambda norm: ascent.pgd(networks.linear, norm=norm, num_steps=STEPS, stops=False),
}
values = st.sampled_from([0, 1]) | st.floats(0, 1, width=32)
in_box = arrays.arrays(np.float32, (2, *SHAPE), elements=values)


@functools.cache
def visited(name: str, norm: str) -> Callable[..., Any]:
    """(variables, rows) -> all points of a few steps and what is handed back, [steps, B, ...]."""
    attack = MADE[name](norm)
    step, start = jax.jit(attack.step), jax.jit(attack.start)

    def run(variables: Any, rows: Any) -> jax.Array:
        state = start(rows)
        points = []
        for number in range(STEPS):
            points.append(state.x)
            state = step(variables, rows, state, jnp.array(number))
        inside = [] if name == "fab" else points  # its walk leaves the ball, what it finds may not
        return jnp.stack([*inside, attack.result(rows, state)])

    return run


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", MADE)
@given(images=in_box, eps=st.floats(1e-3, 3), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=12)
def test_nothing_is_ever_outside_ball_or_box(
    name: str, norm: str, images: np.ndarray, eps: float, scale: float, seed: int
) -> None:
    """Starts, every step and results lie within eps and [0, 1]: black, white and grey images."""
    variables = networks.random_linear(SHAPE, 5, seed)
    variables["w"] *= np.float32(scale)
    batch = networks.rows(images, np.array([0, 1]), np.array([2, 3]), eps=eps)
    rows: Any = batch
    if name == "pgd":
        rows = ascent.Rows(batch.images, batch.labels, batch.keys, batch.eps, batch.eps / 3)
    points = np.asarray(visited(name, norm)(variables, rows))
    assert points.min() >= 0 and points.max() <= 1  # and none is no number
    for x in points:
        assert (networks.sizes(x - images, norm) <= eps * (1 + 1e-5) + 1e-6).all()
