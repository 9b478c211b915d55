"""Square Attack: monotone, within its bounds, on the released schedule."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.evaluation.autoattack import losses, windows
from sadajem_jax.evaluation.autoattack.projections import NORMS
from sadajem_jax.evaluation.autoattack.square import _l_2, _l_inf, _moved_budget, _shares, square
from tests.evaluation.autoattack import networks

EPS = {"l_inf": 0.08, "l_2": 0.4}


@pytest.mark.parametrize("norm", NORMS)
def test_the_margin_never_rises(norm: str) -> None:
    """Query by query the best margin only falls, is that of the best image, and stops once broken.

    The image stays in ball and box all the way.
    """
    images, labels = networks.some_digits(12)
    variables = networks.trained_mlp()
    batch = networks.rows(images, labels, eps=EPS[norm])
    attack = square(networks.mlp, images.shape[1:], norm=norm)
    step = jax.jit(attack.step)
    state = attack.start(batch)
    before = np.full(len(images), np.inf, np.float32)
    for number in range(150):
        was, state = state, step(variables, batch, state, jnp.array(number))
        x, margin = np.asarray(state.x), np.asarray(state.margin)
        assert (margin <= before).all()
        np.testing.assert_array_equal(x[before <= 0], np.asarray(was.x)[before <= 0])
        assert (networks.sizes(x - images, norm) <= EPS[norm] * (1 + 1e-5)).all()
        assert x.min() >= 0 and x.max() <= 1
        before = margin
    again = losses.margin(networks.mlp(variables, x), jnp.asarray(labels))
    np.testing.assert_allclose(margin, again, atol=1e-5)
    assert 0 < np.mean(margin <= 0) < 1  # or stopping would not have been seen


def test_the_schedule_of_the_sides() -> None:
    """At 32 pixels the sides are those of p = 0.8, 0.4, ...; for l_2 odd and at least 3."""
    inf = [windows.side(share, 32, 32) for share in _shares()]
    two = [windows.odd_side(share, 32, 32) for share in _shares()]
    assert inf == [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]
    assert two == [29, 21, 15, 11, 7, 5, 5, 3, 3, 3]
    assert windows.side(1e-9, 8, 8) == 1 and windows.odd_side(0.8, 2, 4) == 2


@pytest.mark.parametrize(
    ("query", "level"), [(0, 0), (10, 0), (11, 1), (50, 1), (51, 2), (4001, 7)]
)
def test_the_share_halves_after_its_queries(query: int, level: int) -> None:
    """Query 10 (from 0) is the last of the largest windows; the change has the level's side."""
    seen: list[jax.Array] = []

    def logits(variables: Any, images: jax.Array) -> jax.Array:
        seen.append(images)
        return jnp.zeros((len(images), 2))

    images = jnp.full((1, 32, 32, 1), 0.5)
    attack = square(logits, (32, 32, 1), norm="l_inf")
    batch = networks.rows(images, jnp.zeros(1, int))
    state = attack.start(batch)._replace(x=images)
    attack.step(None, batch, state, jnp.array(query + 1))
    changed = np.asarray(seen[0][0, :, :, 0] != 0.5)
    side = windows.side(_shares()[level], 32, 32)
    assert changed.sum() == side**2 and changed.any(axis=0).sum() == side


def test_windows_lie_everywhere_but_at_the_last_place() -> None:
    """Corners run from 0 to h - side - 1; a window as large as the image lies at 0."""
    keys = jax.random.split(jax.random.key(0), 500)
    for side, expected in ((5, range(3)), (7, [0]), (8, [0])):
        corners = jax.vmap(windows.corner, (0, None, None, None))(keys, 8, 8, jnp.array(side))
        for values in corners:
            assert set(np.asarray(values).tolist()) == set(expected)


def test_l_inf_moves_to_the_corners_of_the_ball() -> None:
    """The start has vertical stripes of +-eps; in a window each channel goes to +eps or -eps."""
    start, propose = _l_inf((8, 8, 3))
    eps = jnp.array(0.1)
    clean = jnp.full((8, 8, 3), 0.5)
    stripes = np.asarray(start(jax.random.key(0), clean, eps))
    assert (stripes == stripes[:1]).all() and len(np.unique(stripes[0], axis=0)) > 1
    x = jnp.asarray(stripes)
    moved = np.asarray(propose(jax.random.key(1), x, clean, eps, jnp.array(3)))
    np.testing.assert_allclose(np.abs(moved - 0.5), 0.1, rtol=1e-5)
    assert not np.array_equal(moved, stripes)


@pytest.mark.parametrize("side", range(1, 12))
def test_a_bump_has_norm_1_and_two_signs(side: int) -> None:
    """A pattern's norm is 1, its upper half is positive, its lower negative."""
    bump = windows.bump(side)
    np.testing.assert_allclose(np.linalg.norm(bump), 1, rtol=1e-6)
    assert (bump[: side // 2] > 0).all() and (bump[side // 2 :] < 0).all()


def test_a_bump_of_3_by_hand() -> None:
    """One row of 1/4, 1 + 1/4, 1/4 over two rows around a middle in the second, each of norm 1."""
    upper = np.array([[1, 5, 1]]) / 4
    lower = np.array([[1, 1, 1], [1, 5, 1]]) / 4
    both = np.concatenate([upper / np.linalg.norm(upper), -lower / np.linalg.norm(lower)])
    np.testing.assert_allclose(windows.bump(3), both / np.linalg.norm(both), rtol=1e-6)


def test_a_placed_bump_is_where_its_window_is() -> None:
    """The pattern stands at its row and column, turned or not, with zeros elsewhere."""
    padded = jnp.asarray(windows.bumps([3], 8))[0]
    seen = set()
    for seed in range(8):
        key = jax.random.key(seed)
        placed = np.asarray(windows.placed(padded, jnp.array(4), jnp.array(2), key, 7, 8))[..., 0]
        assert placed.shape == (7, 8) and np.count_nonzero(placed) == 9
        turned = np.array_equal(placed[4:7, 2:5], windows.bump(3).T)
        assert turned or np.array_equal(placed[4:7, 2:5], windows.bump(3))
        seen.add(turned)
    assert seen == {True, False}


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (8, 8, 1), (4, 6, 2), (64, 64, 3)])
def test_tiles_cover_the_image_but_for_its_margin(shape: tuple[int, int, int]) -> None:
    """Tiles of a fifth of the height lie side by side; a margin of the remainder stays empty."""
    picture = np.asarray(windows.tiles(jax.random.key(0), shape))
    assert picture.shape == shape
    side = max(shape[0] // 5, 1)
    margin = (shape[0] - 5 * side) // 2 if shape[0] >= 5 else 0
    down, right = (shape[0] - margin) // side, (shape[1] - margin) // side
    assert np.count_nonzero(picture) == down * right * side**2 * shape[2]
    norms = np.square(picture[margin : margin + side, margin : margin + side]).sum(axis=(0, 1))
    np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_l_2_moves_the_budget_of_one_window_into_another() -> None:
    """The second window is emptied; the first's energy is what both had and what was left of eps.

    With three channels each gets a third of what was left (algorithm 3).
    """
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(8, 8, 3)) * 0.01
    first, second = np.zeros((8, 8, 1), bool), np.zeros((8, 8, 1), bool)
    first[:3, :3] = second[4:7, 4:7] = True
    bump = np.zeros((8, 8, 3))
    bump[:3, :3] = windows.bump(3)[..., None]
    given = [jnp.asarray(x) for x in (delta, first, second, bump)]
    found = np.asarray(_moved_budget(given[0], given[1], given[2], given[3], jnp.array(0.5)))
    squares = np.square(found)
    left = (0.25 - np.square(delta).sum()) / 3
    had = np.square(delta * (first | second)).sum(axis=(0, 1))
    np.testing.assert_allclose((squares * first).sum(axis=(0, 1)), left + had, rtol=1e-5)
    assert not (found * second).any()
    rest = np.broadcast_to(~(first | second), found.shape)
    np.testing.assert_allclose(found[rest], delta[rest], rtol=1e-6)
    np.testing.assert_allclose(squares.sum(), 0.25, rtol=1e-5)


def test_l_2_uses_the_whole_budget() -> None:
    """Away from the box's sides the start and every proposal have norm eps."""
    start, propose = _l_2((8, 8, 3))
    eps = jnp.array(0.2)
    clean = jnp.full((8, 8, 3), 0.5)
    x = start(jax.random.key(0), clean, eps)
    for seed in range(20):
        np.testing.assert_allclose(jnp.linalg.norm((x - clean).ravel()), 0.2, rtol=1e-5)
        x = propose(jax.random.key(seed), x, clean, eps, jnp.array(seed % 4))
