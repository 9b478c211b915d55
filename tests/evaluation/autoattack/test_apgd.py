"""Auto-PGD: closed forms, its own bookkeeping, and plain PGD beside it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.evaluation.autoattack import losses
from sadajem_jax.evaluation.autoattack.apgd import CHECKPOINTS, _check, _remember, _start, apgd
from sadajem_jax.evaluation.autoattack.projections import NORMS, direction, onto_ball
from tests.evaluation.autoattack import networks


def at_distance(norm: str, distance: float) -> tuple[dict[str, np.ndarray], Any]:
    """A classifier of two and images at one distance of its boundary, far from the box's sides."""
    variables = networks.random_linear((8, 8, 1), 2)
    w = (variables["w"][:, 1] - variables["w"][:, 0]).astype(np.float64)
    rng = np.random.default_rng(1)
    x = 0.5 + rng.uniform(-0.02, 0.02, (6, 64))
    x -= ((x - 0.5) @ w)[:, None] * w / (w @ w)  # onto the boundary, which goes through 0.5
    variables["b"] = np.array([0.5 * w.sum(), 0], np.float32)
    labels = np.arange(6) % 2
    away = np.sign(w) if norm == "l_inf" else w / np.linalg.norm(w)
    x += distance * (2 * labels[:, None] - 1) * away
    return variables, networks.rows(x.astype(np.float32).reshape(6, 8, 8, 1), labels, 1 - labels)


@pytest.mark.parametrize("norm", NORMS)
def test_apgd_reaches_the_boundary_of_a_linear_classifier(norm: str) -> None:
    """Every image at a distance of 0.05 is broken with 1% more, and none with 1% less."""
    for eps, expected in ((0.0505, True), (0.0495, False)):
        variables, batch = at_distance(norm, 0.05)
        found, state = networks.attacked(
            apgd(networks.linear, losses.cross_entropy, norm=norm),
            variables,
            batch._replace(eps=jnp.full(6, eps)),
        )
        assert np.all(np.asarray(state.broken) == expected)
        if expected:  # it ends on the sphere, where the loss is largest
            sizes = networks.sizes(found - batch.images, norm)
            np.testing.assert_allclose(sizes, eps, rtol=1e-3)
        else:
            np.testing.assert_array_equal(found, batch.images)


def plain_pgd(variables: Any, batch: Any, norm: str, eps: float) -> np.ndarray:
    """Largest cross-entropy [B] of 100 steps of eps / 4 from the clean image."""

    def total(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = networks.mlp(variables, x)
        loss = losses.cross_entropy(logits, batch.labels, batch.targets)
        return loss.sum(), loss

    @jax.jit
    def step(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        grad, loss = jax.grad(total, has_aux=True)(x)
        towards = jnp.sign(grad) if norm == "l_inf" else direction(grad, norm)
        return onto_ball(x + eps / 4 * towards, batch.images, norm, eps), loss

    x, best = batch.images, -np.inf
    for _ in range(101):
        x, loss = step(x)
        best = np.maximum(best, loss)
    return np.asarray(best)


@pytest.mark.parametrize(("norm", "eps"), [("l_inf", 0.06), ("l_2", 0.3)])
def test_apgd_is_as_strong_as_plain_pgd(norm: str, eps: float) -> None:
    """At the same number of gradients its loss is no smaller, on average and nearly everywhere."""
    images, labels = networks.some_digits(32)
    variables, batch = networks.trained_mlp(), networks.rows(images, labels, eps=eps)
    found, state = networks.attacked(
        apgd(networks.mlp, losses.cross_entropy, norm=norm), variables, batch
    )
    plain, ours = plain_pgd(variables, batch, norm, eps), np.asarray(state.loss_best)
    assert ours.mean() >= plain.mean() * (1 - 1e-4)
    assert np.mean(ours >= plain * (1 - 1e-3)) >= 0.9
    assert 0 < np.mean(plain > np.log(10)) < 1  # or the budget would decide alone
    assert (networks.sizes(found - images, norm) <= eps * (1 + 1e-5)).all()
    assert found.min() >= 0 and found.max() <= 1


def test_what_is_returned_is_the_last_misclassified_point() -> None:
    """Steps that fool at iterations 3 and 5 of 6 leave the point of 5; those that never, none."""
    batch = networks.rows(jnp.zeros((2, 1, 1, 1)), jnp.zeros(2, int))
    state = _start(batch, "l_inf")
    for number in range(7):
        state = state._replace(x=jnp.full((2, 1, 1, 1), float(number)))
        broken = jnp.array([number in (3, 5), False])
        state = _remember(state, jnp.ones(2), jnp.ones_like(state.x), broken, jnp.array(number))
    np.testing.assert_array_equal(state.broken, [True, False])
    assert float(state.found[0, 0, 0, 0]) == 5


def walk(traces: list[list[float]]) -> list[np.ndarray]:
    """Step sizes [B] of eps = 0.5 after each of the evaluations with these losses."""
    batch = networks.rows(jnp.zeros((len(traces), 1, 1, 1)), jnp.zeros(len(traces), int), eps=0.5)
    state, sizes = _start(batch, "l_inf"), []
    never, grad = jnp.zeros(len(traces), bool), jnp.ones_like(state.x)
    for number, loss in enumerate(zip(*traces, strict=True)):
        state = _remember(state, jnp.array(loss), grad, never, jnp.array(number))
        state, _ = _check(state, grad, jnp.array(number))
        sizes.append(np.asarray(state.step_size))
    return sizes


def halvings(sizes: list[np.ndarray], row: int) -> list[int]:
    """The numbers of the iterations at which a row's step size was halved."""
    return [n for n in range(1, len(sizes)) if sizes[n][row] < sizes[n - 1][row]]


def test_step_sizes_by_hand() -> None:
    """A loss that always rises keeps the step; one that never does halves it at each checkpoint.

    A rise in 17 of the first 22 iterations keeps it, in 16 (at most three quarters) does not; a
    loss that oscillates upwards and then stays is halved, once, for its best value being old.
    """
    rising = [float(n) for n in range(101)]
    falling = [-float(n) for n in range(101)]
    kept = [1.0, *np.cumsum([1.0] * 17 + [-0.1] * 5), *(50.0 + n for n in range(78))]
    lost = [1.0, *np.cumsum([1.0] * 16 + [-0.1] * 6), *(50.0 + n for n in range(78))]
    sizes = walk([rising, falling, kept, lost])
    assert halvings(sizes, 0) == []
    assert halvings(sizes, 1) == list(CHECKPOINTS)
    assert halvings(sizes, 2) == []
    assert halvings(sizes, 3) == [22]


def test_the_first_rise_is_counted_from_zero() -> None:
    """The released code's first check compares the first iteration's loss with 0, not the start's.

    A start at 5, then 1 (a fall, but above 0) and 16 rises of 21 make 17 of 22: no halving.
    """
    tail = [*np.cumsum([1.0] * 16 + [-0.1] * 5) + 1, *(50.0 + n for n in range(78))]
    above, below = [5.0, 1.0, *tail], [5.0, -1.0, *tail]
    sizes = walk([above, below])
    assert halvings(sizes, 0) == []
    assert halvings(sizes, 1) == [22]


def test_a_stale_best_loss_halves_at_every_other_checkpoint() -> None:
    """A loss that always rises but never beats its start halves the step at every other check."""
    losses_ = [100.0, *range(1, 101)]  # rises always, and never reaches the start
    assert halvings(walk([losses_]), 0) == [41, 70, 87, 99]


def test_at_a_halving_the_walk_goes_back_to_its_best_point() -> None:
    """The point and its gradient return to the best one's; x_old does not."""
    batch = networks.rows(jnp.zeros((1, 1, 1, 1)), jnp.zeros(1, int), eps=0.5)
    state = _start(batch, "l_inf")
    one = jnp.ones((1, 1, 1, 1))
    state = state._replace(x=3 * one, x_old=2 * one, x_best=7 * one, grad_best=9 * one)
    state, grad = _check(state, 4 * one, jnp.array(22))
    assert (float(state.x[0, 0, 0, 0]), float(grad[0, 0, 0, 0])) == (7, 9)
    assert float(state.x_old[0, 0, 0, 0]) == 2
    assert float(state.step_size[0]) == 0.5


@pytest.mark.parametrize("norm", NORMS)
def test_starts_are_random_and_of_norm_eps(norm: str) -> None:
    """Away from the sides of the box a start has norm eps, and each image its own direction."""
    batch = networks.rows(jnp.full((4, 8, 8, 1), 0.5), jnp.zeros(4, int))
    delta = np.asarray(_start(batch, norm).x - batch.images)
    np.testing.assert_allclose(networks.sizes(delta, norm), 0.1, rtol=1e-5)
    assert len({row.tobytes() for row in delta}) == 4
    assert abs(delta.mean()) < 0.02
