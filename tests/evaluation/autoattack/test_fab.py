"""FAB: the distance to a linear boundary, and what counts as found."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.evaluation.autoattack.fab import fab
from sadajem_jax.evaluation.autoattack.projections import NORMS
from tests.evaluation.autoattack import networks
from tests.evaluation.autoattack.test_apgd import at_distance


@pytest.mark.parametrize("norm", NORMS)
def test_fab_finds_the_distance_to_a_linear_boundary(norm: str) -> None:
    """It comes within 1% of 0.05 from outside, and counts if eps is larger, not if smaller."""
    variables, batch = at_distance(norm, 0.05)
    for eps, counts in ((0.051, True), (0.0499, False)):
        batch = batch._replace(eps=jnp.full(6, eps))
        found, state = networks.attacked(fab(networks.linear, norm=norm), variables, batch)
        distance = np.asarray(state.distance)
        assert (distance >= 0.05 * (1 - 1e-4)).all() and (distance <= 0.05 * 1.01).all()
        moved = networks.sizes(found - batch.images, norm)
        np.testing.assert_allclose(moved, distance * counts, rtol=1e-5)


@pytest.mark.parametrize(("norm", "eps"), [("l_inf", 0.06), ("l_2", 0.3)])
def test_what_fab_finds_is_misclassified_and_within_eps(norm: str, eps: float) -> None:
    """On digits some images are broken, each within eps and the box, and any class will do."""
    images, labels = networks.some_digits(32)
    variables = networks.trained_mlp()
    targets = np.argsort(-np.asarray(networks.mlp(variables, images)), axis=1)[:, 1]
    batch = networks.rows(images, labels, targets, eps=eps)
    found, _ = networks.attacked(fab(networks.mlp, norm=norm), variables, batch)
    moved = networks.sizes(found - images, norm)
    assert 0 < np.mean(moved > 0) < 1
    assert moved.max() <= eps * (1 + 1e-6)
    assert found.min() >= 0 and found.max() <= 1
    predicted = np.argmax(networks.mlp(variables, found), axis=1)
    assert (predicted != labels)[moved > 0].all()


def test_the_nearest_point_is_kept() -> None:
    """More steps never end further away."""
    images, labels = networks.some_digits(16)
    variables = networks.trained_mlp()
    targets = np.argsort(-np.asarray(networks.mlp(variables, images)), axis=1)[:, 1]
    batch = networks.rows(images, labels, targets)
    attack = fab(networks.mlp, norm="l_2")
    _, early = networks.attacked(attack._replace(num_steps=10), variables, batch)
    _, late = networks.attacked(attack, variables, batch)
    assert (np.asarray(late.distance) <= np.asarray(early.distance)).all()
    assert np.asarray(late.distance).mean() < np.asarray(early.distance).mean()
