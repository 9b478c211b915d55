"""FAB: walks along the linearised boundary towards one class, keeping close to the clean image.

Source: Croce and Hein 2020 (Fast Adaptive Boundary, arXiv 1907.02044), algorithm 1, in its targeted
form; no random start, since AutoAttack gives it one try.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sadajem_jax.evaluation.autoattack.attack import Attack, Logits, Rows, choose, fooled
from sadajem_jax.evaluation.autoattack.losses import logit_gap
from sadajem_jax.evaluation.autoattack.projections import in_box, per_image, size, to_hyperplane

ITERATIONS = 100
ALPHA_MAX = 0.1  # the largest share of the clean image's own projection
ETA = 1.05  # overshooting
BETA = 0.9  # the step back towards the clean image once the boundary is crossed
SHORTEST = 1e-8


class State(NamedTuple):
    """Where a walk is: the point x, the nearest misclassified one, and its distance [B]."""

    x: jax.Array
    found: jax.Array
    distance: jax.Array


def fab(logits_fn: Logits, *, norm: str) -> Attack:
    """Targeted FAB as a repeated step.

    Args:
      logits_fn: of the network that is searched.
      norm: "l_inf" or "l_2"; a misclassified point counts if it is within `rows.eps`.

    Returns:
      An attack of 100 steps. It aims at `rows.targets`; any wrong class counts.
    """

    def start(rows: Rows) -> State:
        far = jnp.full(len(rows.images), jnp.inf, rows.images.dtype)
        return State(rows.images, rows.images, far)

    def step(variables: Any, rows: Rows, state: State, number: jax.Array) -> State:
        x = _walk(logits_fn, variables, rows, state.x, norm)
        broken = fooled(logits_fn(variables, x), rows.labels)
        distance = size(x - rows.images, norm)
        nearer = broken & (distance < state.distance)
        return State(
            x=choose(broken, rows.images + BETA * (x - rows.images), x),
            found=choose(nearer, x, state.found),
            distance=jnp.where(nearer, distance, state.distance),
        )

    return Attack(
        num_steps=ITERATIONS,
        start=start,
        step=step,
        result=lambda rows, state: choose(state.distance <= rows.eps, state.found, rows.images),
        gradients=True,
    )


def _walk(logits_fn: Logits, variables: Any, rows: Rows, x: jax.Array, norm: str) -> jax.Array:
    """The next point: a mean of x's and the clean image's projections on the boundary (Eq. 9)."""

    def gap(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        gaps = logit_gap(logits_fn(variables, x), rows.labels, rows.targets)
        return jnp.sum(gaps), gaps

    normal, excess = jax.grad(gap, has_aux=True)(x)
    clean = rows.images
    excess_clean = excess + jnp.sum((normal * (clean - x)).reshape(len(x), -1), axis=-1)
    own = to_hyperplane(x, normal, excess, norm)
    other = to_hyperplane(clean, normal, excess_clean, norm)
    own_size = jnp.maximum(size(own, norm), SHORTEST)
    other_size = jnp.maximum(size(other, norm), SHORTEST)
    alpha = per_image(jnp.minimum(own_size / (own_size + other_size), ALPHA_MAX), x)
    return in_box((1 - alpha) * (x + ETA * own) + alpha * (clean + ETA * other))
