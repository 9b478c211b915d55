"""What is prepared outside the step: the two streams, and the fresh starts of chains."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax
import numpy as np
import pytest

from sadajem_jax.informative_init import Starts
from sadajem_jax.randomness import run_key
from sadajem_jax.training.feed import Feeder, Stream, capacity, window_around

BATCH = 6


def pixels_of(keys: jax.Array, classes: np.ndarray) -> jax.Array:
    """One-pixel images, each told from all others by its value, a function of its key."""
    values = np.float32(np.asarray(jax.random.key_data(keys))[:, 0] / 2**32)
    return jax.numpy.asarray(np.where(classes < 0, 0, values)[:, None, None, None])


def starts_of(of_classes: Callable[[jax.Array, np.ndarray], jax.Array]) -> Starts:
    """An initialisation of such rows, all of class 0."""
    return Starts(
        lambda keys: (keys, jax.numpy.zeros(len(keys), int)), lambda keys: keys, of_classes
    )


def feeder(window: int, reinit_prob: float = 0.3, seed: int = 0) -> Feeder:
    """A small feeder."""
    streams = Stream(seed, 0, 50, BATCH), Stream(seed, 1, 50, 9)
    return Feeder(*streams, run_key(seed), reinit_prob, starts_of(pixels_of), window)


def starts(prepared: Feeder, num_steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(fresh rows, NaN where none is due; px indices; label indices) of steps 0 on, [n, ...]."""
    rows, px, label = [], [], []
    end = 0
    for step in range(num_steps):
        if step >= end:
            made, end = prepared.feed(step)
            assert end > step
            feed = jax.tree.map(np.asarray, made)
        at = step - int(feed.first_step)
        which, values = feed.fresh_row[at], feed.fresh[:, 0, 0, 0]
        rows.append(np.where(which >= 0, values[which], np.nan))
        px.append(feed.px_index[at])
        label.append(feed.label_index[at])
    return np.stack(rows), np.stack(px), np.stack(label)


@pytest.mark.parametrize(("num_images", "batch_size"), [(50, 7), (12, 12), (12, 4), (9, 5)])
def test_an_epoch_visits_every_image_at_most_once(num_images: int, batch_size: int) -> None:
    """An epoch is all the whole batches of one permutation, and each epoch has its own."""
    stream = Stream(3, 0, num_images, batch_size)
    per_epoch = num_images // batch_size
    assert stream.steps_per_epoch == per_epoch
    orders = []
    for epoch in range(3):
        batches = [stream.batch(epoch * per_epoch + i) for i in range(per_epoch)]
        assert all(batch.shape == (batch_size,) for batch in batches)
        seen = np.concatenate(batches)
        assert len(set(seen.tolist())) == per_epoch * batch_size
        assert 0 <= seen.min() <= seen.max() < num_images
        orders.append(tuple(seen.tolist()))
    assert len(set(orders)) == 3


def test_what_an_epoch_leaves_out_changes() -> None:
    """The images left out of the last batch are others every epoch: over many all are seen."""
    stream = Stream(0, 0, 10, 7)
    assert set(np.concatenate([stream.batch(epoch) for epoch in range(20)]).tolist()) == set(
        range(10)
    )


def test_streams_and_seeds_have_orders_of_their_own() -> None:
    """The p(x) stream, the labelled stream and another seed's streams never share an order."""
    which = itertools.product((0, 1), (0, 1))
    orders = {tuple(Stream(seed, number, 40, 40).batch(0).tolist()) for seed, number in which}
    assert len(orders) == 4


def test_a_batch_is_a_function_of_its_step_alone() -> None:
    """Steps asked for in any order, and again, give the same images."""
    stream = Stream(0, 1, 40, 6)
    forward = [stream.batch(step) for step in range(60)]
    for step in np.random.default_rng(0).permutation(60):
        np.testing.assert_array_equal(Stream(0, 1, 40, 6).batch(int(step)), forward[step])


def test_a_window_is_cut_where_its_rows_no_longer_fit() -> None:
    """Parts follow each other without gap, hold the step asked for, fit, and are as long as can be.

    All windows of five steps with up to three rows each, in rooms of three and four.
    """
    for due, room in itertools.product(itertools.product(range(4), repeat=5), (3, 4)):
        rows = np.array(due)
        parts = [window_around(step, rows, room) for step in range(5)]
        for step, (first, end) in enumerate(parts):
            assert first <= step < end
            assert rows[first:end].sum() <= room
            assert end == 5 or rows[first : end + 1].sum() > room
        assert parts == sorted(parts)
        edges = sorted(set(parts))
        assert [end for _, end in edges] == [first for first, _ in edges[1:]] + [5]


@pytest.mark.parametrize("window", [1, 5])
def test_fresh_rows_do_not_depend_on_the_window(window: int) -> None:
    """Which rows of which steps start anew, and with what, is the same whatever the window."""
    expected = starts(feeder(16), 16)
    for found, there in zip(starts(feeder(window), 16), expected, strict=True):
        np.testing.assert_array_equal(found, there)
    values = expected[0][~np.isnan(expected[0])]
    assert len(np.unique(values)) == len(values) > 10  # every fresh row is another


def test_the_batches_are_those_of_the_streams() -> None:
    """Every step's indices in the feed are its streams' batches."""
    prepared = feeder(8)
    _, px, label = starts(prepared, 20)
    for step in range(20):
        np.testing.assert_array_equal(px[step], prepared.px.batch(step))
        np.testing.assert_array_equal(label[step], prepared.label.batch(step))


def test_a_resumed_run_gets_what_an_unbroken_one_got() -> None:
    """A feed asked for in the middle of a window is the one that the window's start got."""
    for step in (3, 7):
        (from_start, end), (resumed, resumed_end) = feeder(8).feed(0), feeder(8).feed(step)
        assert end == resumed_end == 8
        jax.tree.map(np.testing.assert_array_equal, resumed, from_start)


def test_a_window_too_full_is_cut_and_loses_nothing() -> None:
    """With room for a batch only, shorter feeds follow each other with the very same rows."""
    cut = feeder(16)
    cut.capacity = BATCH
    assert cut.feed(0)[1] < 16
    np.testing.assert_array_equal(starts(cut, 16)[0], starts(feeder(16), 16)[0])
    middle = feeder(16)
    middle.capacity = BATCH
    end = middle.feed(0)[1]
    for step in (end, 15):  # resumed there
        np.testing.assert_array_equal(middle.feed(step)[0].fresh, cut.feed(step)[0].fresh)


def test_the_share_of_fresh_rows_is_the_probability() -> None:
    """Over many steps the due rows are the share gamma of all; 0 means none, 1 means all."""
    rows, _, _ = starts(feeder(512, 0.05), 1024)
    due = ~np.isnan(rows)
    spread = np.sqrt(0.05 * 0.95 / due.size)
    assert abs(due.mean() - 0.05) < 5 * spread
    assert np.all(due.any(axis=0))  # and every row has its turn
    assert np.all(np.isnan(starts(feeder(4, 0.0), 8)[0]))
    assert not np.any(np.isnan(starts(feeder(4, 1.0), 8)[0]))


def test_another_seed_has_other_fresh_rows() -> None:
    """Two seeds share neither the rows that are due nor their values."""
    one, two = (starts(feeder(16, seed=seed), 16)[0] for seed in (0, 1))
    assert np.any(np.isnan(one) != np.isnan(two))
    assert not set(one[~np.isnan(one)]) & set(two[~np.isnan(two)])


@pytest.mark.parametrize("reinit_prob", [0.0, 0.05, 0.5, 1.0])
def test_there_is_room_for_a_batch_and_for_nearly_every_window(reinit_prob: float) -> None:
    """The room holds the mean and six standard deviations, a batch at least, never more than all.

    So a single step always fits, and a window is hardly ever cut.
    """
    for window, batch in ((1, 4), (64, 64)):
        room, rows = capacity(window, batch, reinit_prob), window * batch
        mean, variance = rows * reinit_prob, rows * reinit_prob * (1 - reinit_prob)
        assert batch <= room <= rows
        assert room == rows or room >= mean + 6 * np.sqrt(variance) - 1


def test_shapes_never_change() -> None:
    """All feeds of a run have the same shapes and dtypes, so that the step is compiled once."""
    prepared = feeder(8)
    shapes = {str(jax.tree.map(lambda x: (x.shape, x.dtype), prepared.feed(s)[0])) for s in (0, 8)}
    assert len(shapes) == 1
