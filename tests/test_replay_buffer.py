"""The replay buffer: what is drawn, what is read, what is written."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sadajem_jax import replay_buffer


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """No silent change of dtype in this file."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def draw(seed: int, size: int, num_shards: int, batch_size: int) -> np.ndarray:
    """The slots of one draw."""
    return np.asarray(
        replay_buffer.draw_slots(
            jax.random.key(seed), size=size, num_shards=num_shards, batch_size=batch_size
        )
    )


@pytest.mark.parametrize(
    ("size", "num_shards", "batch_size"), [(90, 1, 7), (96, 4, 24), (64, 8, 64), (10, 10, 10)]
)
def test_slots_are_distinct_and_every_stratum_gives_its_share(
    size: int, num_shards: int, batch_size: int
) -> None:
    """A draw names no slot twice and takes B / S slots from each stratum, in the strata's order."""
    for seed in range(5):
        slots = draw(seed, size, num_shards, batch_size)
        assert slots.dtype == np.int32
        assert len(set(slots.tolist())) == batch_size
        stratum = slots // (size // num_shards)
        share = batch_size // num_shards
        np.testing.assert_array_equal(stratum, np.repeat(np.arange(num_shards), share))


def test_slots_are_uniform_within_a_stratum() -> None:
    """Over many draws every slot comes up equally often, and as unevenly as chance has it."""
    size, num_shards, batch_size, draws = 60, 3, 15, 4000
    keys = jax.random.split(jax.random.key(0), draws)
    sizes = {"size": size, "num_shards": num_shards, "batch_size": batch_size}
    slots = jax.jit(jax.vmap(lambda key: replay_buffer.draw_slots(key, **sizes)))(keys)
    counts = np.bincount(np.asarray(slots).ravel(), minlength=size)
    share = batch_size / size
    assert counts.sum() == draws * batch_size
    # A count's variance is draws share (1 - share), and a stratum's counts have a fixed sum.
    width = size // num_shards
    variance = draws * share * (1 - share) * width / (width - 1)
    chi_square = np.sum((counts - draws * share) ** 2) / variance
    assert 1e-4 < stats.chi2.sf(chi_square, size - num_shards) < 1 - 1e-4


def test_a_stratum_s_draw_depends_on_the_key_and_its_number_alone() -> None:
    """Strata drawn among 8 are those drawn among 4: any sharding of them draws the same."""
    key = jax.random.key(3)
    eight = replay_buffer.draw_slots(key, size=160, num_shards=8, batch_size=32)
    four = replay_buffer.draw_slots(key, size=80, num_shards=4, batch_size=16)
    np.testing.assert_array_equal(eight[:16], four)
    strata = np.asarray(eight).reshape(8, 4) % 20
    assert len({tuple(row) for row in strata.tolist()}) == 8  # and no two draw alike


def test_compiled_and_eager_draws_are_the_same() -> None:
    """The slots do not depend on how the draw is run."""
    run = jax.jit(lambda key: replay_buffer.draw_slots(key, size=96, num_shards=4, batch_size=24))
    np.testing.assert_array_equal(run(jax.random.key(1)), draw(1, 96, 4, 24))
    assert not np.array_equal(draw(1, 96, 4, 24), draw(2, 96, 4, 24))


@pytest.mark.parametrize(
    ("size", "num_shards", "batch_size"), [(100, 3, 9), (99, 3, 10), (12, 3, 15)]
)
def test_what_does_not_divide_or_fit_is_refused(
    size: int, num_shards: int, batch_size: int
) -> None:
    """Strata must divide buffer and batch, and the batch must fit; the error names all three."""
    with pytest.raises(ValueError, match=rf"{num_shards}.*{size}.*{batch_size}"):
        draw(0, size, num_shards, batch_size)


def test_rows_start_anew_with_the_given_probability() -> None:
    """Each row is re-initialised with the probability given; 0 spares all, 1 takes all."""
    keys = jax.random.split(jax.random.key(0), 20_000)
    for probability in (0.0, 0.05, 0.5, 1.0):
        found = np.asarray(replay_buffer.reinitialised(keys, probability))
        assert found.dtype == bool
        spread = np.sqrt(probability * (1 - probability) / len(keys))
        assert abs(found.mean() - probability) <= 5 * spread


def test_a_row_is_re_initialised_by_its_key_alone() -> None:
    """Whether a row starts anew does not depend on the rows beside it."""
    keys = jax.random.split(jax.random.key(0), 100)
    whole = np.asarray(replay_buffer.reinitialised(keys, 0.5))
    some = np.array([70, 3, 41])
    np.testing.assert_array_equal(replay_buffer.reinitialised(keys[some], 0.5), whole[some])


@pytest.fixture
def images() -> jax.Array:
    """A buffer of 12 small images."""
    return jax.random.normal(jax.random.key(5), (12, 2, 3, 1))


def test_reading_replaces_the_marked_rows_and_no_others(images: jax.Array) -> None:
    """Rows with fresh_row >= 0 come from the fresh rows, the others from their slots."""
    fresh = 10 + jax.random.normal(jax.random.key(6), (4, 2, 3, 1))
    slots = jnp.array([7, 0, 11, 3, 5])
    fresh_row = jnp.array([-1, 2, -1, 0, -1])
    found = replay_buffer.read(images, slots, fresh, fresh_row)
    expected = jnp.stack([images[7], fresh[2], images[11], fresh[0], images[5]])
    np.testing.assert_array_equal(found, expected)


def test_what_is_written_is_read_and_the_rest_is_untouched(images: jax.Array) -> None:
    """Written rows come back from their slots to the bit; all other slots keep theirs."""
    slots = jnp.array([9, 1, 4])
    x_neg = jax.random.normal(jax.random.key(7), (3, 2, 3, 1))
    after = replay_buffer.write(images, slots, x_neg)
    none = jnp.full(3, -1)
    np.testing.assert_array_equal(replay_buffer.read(after, slots, x_neg[:1], none), x_neg)
    others = np.setdiff1d(np.arange(12), slots)
    np.testing.assert_array_equal(after[others], images[others])
    assert after.dtype == images.dtype


def test_parts_of_the_buffer_change_nothing(images: jax.Array) -> None:
    """Read and written in parts, of slots that lie in order of the strata, rows are the same."""
    key, x_neg = jax.random.key(8), jax.random.normal(jax.random.key(7), (8, 2, 3, 1))
    slots = replay_buffer.draw_slots(key, size=12, num_shards=4, batch_size=8)
    fresh_row = jnp.array([-1, 1, -1, -1, 0, -1, -1, 2])
    for parts in (2, 4):
        found = replay_buffer.read(images, slots, x_neg[:3], fresh_row, parts)
        whole = replay_buffer.read(images, slots, x_neg[:3], fresh_row)
        np.testing.assert_array_equal(found, whole)
        after = replay_buffer.write(images, slots, x_neg, parts)
        np.testing.assert_array_equal(after, replay_buffer.write(images, slots, x_neg))


def test_the_buffer_keeps_its_dtype(images: jax.Array) -> None:
    """Samples of another dtype are converted to the buffer's."""
    x_neg = jnp.full((1, 2, 3, 1), 0.5, jnp.bfloat16)
    after = replay_buffer.write(images, jnp.array([2]), x_neg)
    assert after.dtype == images.dtype
    np.testing.assert_array_equal(after[2], 0.5)


def test_classes_take_turns_over_the_slots() -> None:
    """A slot has the class slot mod C: each class has its share, and a slot's never changes."""
    classes = np.asarray(replay_buffer.classes(jnp.arange(40), 10))
    np.testing.assert_array_equal(np.bincount(classes), np.full(10, 4))
    drawn = replay_buffer.classes(jnp.array([13, 3, 20]), 10)
    np.testing.assert_array_equal(drawn, [3, 3, 0])
