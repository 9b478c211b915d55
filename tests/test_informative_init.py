"""The class-conditional Gaussian start: its two moments, and what a row depends on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import informative_init
from sadajem_jax.augment import to_float

SHAPE = (2, 2, 1)


def keys(count: int, seed: int = 0) -> jax.Array:
    """One key a row."""
    return jax.random.split(jax.random.key(seed), count)


def grey(count: int, seed: int = 0, centre: int = 128) -> np.ndarray:
    """Images of values near one grey, so that no draw meets the bounds; two pixels are twins."""
    images = np.random.default_rng(seed).integers(-12, 13, (count, *SHAPE)) + centre
    images[:, 1, 1] = images[:, 0, 0]
    return images.astype(np.uint8)


def assert_moments(rows: Any, images: np.ndarray) -> None:
    """Mean and covariance of draws are those of the images, 1e-4 added to each variance."""
    found = np.float64(rows).reshape(len(rows), -1)
    flat = np.float64(to_float(jnp.asarray(images))).reshape(len(images), -1)
    mean, covariance = flat.mean(0), np.cov(flat.T, bias=True) + 1e-4 * np.eye(flat.shape[1])
    variance = np.diag(covariance)
    assert np.all(np.abs(found.mean(0) - mean) < 5 * np.sqrt(variance / len(rows)))
    spread = np.sqrt((np.outer(variance, variance) + covariance**2) / len(rows))
    assert np.all(np.abs(np.cov(found.T) - covariance) < 5 * spread)


def test_draws_have_the_class_s_mean_and_covariance() -> None:
    """20,000 draws have the mean and (n-normalised) covariance of the class, plus 1e-4 I.

    Two of the pixels are always equal, so what their difference varies is the 1e-4 alone; the
    rows past the count, white images, are no part of the class.
    """
    images = grey(6)
    padded = np.concatenate([images, np.full((3, *SHAPE), 255, np.uint8)])
    draw = jax.jit(informative_init.gaussian_rows)
    rows = draw(keys(20_000), jnp.asarray(padded), jnp.asarray(6, jnp.int32))
    assert_moments(rows, images)
    difference = np.float64(rows[:, 0, 0, 0] - rows[:, 1, 1, 0])
    assert abs(difference.var() / 2e-4 - 1) < 5 * np.sqrt(2 / len(rows))


def test_draws_are_gaussian() -> None:
    """The draws' fourth moments are a Gaussian's, though the class has a handful of images."""
    draw = jax.jit(informative_init.gaussian_rows)
    rows = draw(keys(20_000), jnp.asarray(grey(6)), jnp.asarray(6, jnp.int32))
    flat = np.asarray(rows, np.float64).reshape(len(rows), -1)
    standard = (flat - flat.mean(0)) / flat.std(0)
    assert np.abs((standard**4).mean(0) - 3).max() < 5 * np.sqrt(96 / len(rows))


def unequal() -> tuple[jax.Array, np.ndarray, informative_init.ClassImages]:
    """Three classes of 2, 9 and 4 images of greys of their own, in mixed order."""
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [2, 9, 4]))
    images = grey(len(labels), seed=2).astype(int) + 40 * labels[:, None, None, None] - 40
    data = jnp.asarray(images.astype(np.uint8))
    return data, labels, informative_init.by_class(data, labels, 3)


def test_images_are_grouped_by_their_labels() -> None:
    """Each class's rows are exactly its images, whatever the sizes of the classes."""
    _, labels, grouped = unequal()
    np.testing.assert_array_equal(grouped.counts, [2, 9, 4])
    for c, count in enumerate(np.asarray(grouped.counts)):
        rows = np.asarray(grouped.rows[c, :count])
        np.testing.assert_array_equal(rows, np.flatnonzero(labels == c))


def test_classes_of_unequal_sizes_each_keep_their_moments() -> None:
    """A row of class c has the moments of class c, beside rows of larger and smaller classes."""
    images, labels, grouped = unequal()
    classes = np.arange(900) % 3
    rows = np.asarray(informative_init.class_gaussian(keys(900), classes, grouped))
    for c in range(3):
        assert_moments(rows[classes == c], np.asarray(images)[labels == c])


def test_a_class_of_one_image_is_that_image_and_jitter() -> None:
    """A class of one image has no spread but the 0.01 of the jitter."""
    image = grey(1)
    rows = np.asarray(
        informative_init.gaussian_rows(keys(2000), jnp.asarray(image), jnp.asarray(1, jnp.int32))
    )
    off = rows - np.asarray(to_float(jnp.asarray(image)))
    assert abs(off.mean()) < 5 * 0.01 / np.sqrt(off.size)
    assert abs(off.std() / 0.01 - 1) < 5 / np.sqrt(2 * off.size)


def test_draws_are_clipped() -> None:
    """Draws from black and white images stay in [-1, 1], and reach both ends exactly."""
    images = np.zeros((6, *SHAPE), np.uint8)
    images[::2] = 255
    rows = informative_init.gaussian_rows(keys(200), jnp.asarray(images), jnp.asarray(6, jnp.int32))
    assert rows.dtype == jnp.float32
    assert rows.min() == -1
    assert rows.max() == 1


def test_a_class_without_images_is_refused() -> None:
    """A class that has no image cannot start a chain: the error names it."""
    with pytest.raises(ValueError, match=r"every class needs an image.* 2 has 0"):
        informative_init.by_class(jnp.asarray(grey(4)), np.array([0, 1, 3, 1]), 4)


def test_a_row_is_a_function_of_its_key_and_class_alone() -> None:
    """The same rows come out in any order and any company; those without a class are zero."""
    _, _, grouped = unequal()
    count = 40  # more than a chunk of a class
    classes = np.random.default_rng(3).integers(0, 3, count)
    all_keys = keys(count, seed=4)
    whole = np.asarray(informative_init.class_gaussian(all_keys, classes, grouped))
    assert len(np.unique(whole.reshape(count, -1), axis=0)) == count
    for rows in (np.random.default_rng(5).permutation(count), np.array([17])):
        padded = np.resize(rows, 64)
        some = np.where(np.arange(64) < len(rows), classes[padded], -1)
        found = informative_init.class_gaussian(all_keys[padded], some, grouped)
        np.testing.assert_allclose(found[: len(rows)], whole[rows], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found[len(rows) :], 0)


def test_no_rows_are_due_and_none_are_made() -> None:
    """Without a class the Gaussian leaves zeros; without keys the uniform start has no rows."""
    _, _, grouped = unequal()
    none = np.zeros(0, int)
    rows = informative_init.class_gaussian(keys(3), np.full(3, -1), grouped)
    np.testing.assert_array_equal(rows, np.zeros((3, *SHAPE)))
    assert informative_init.uniform(keys(2)[none], SHAPE).shape == (0, *SHAPE)


def test_the_uniform_start_is_uniform() -> None:
    """JEM's start is U(-1, 1), a function of the row's key."""
    all_keys = keys(2000)
    rows = np.asarray(informative_init.uniform(all_keys, SHAPE))
    drawn = rows
    assert -1 <= drawn.min() < -0.99
    assert 0.99 < drawn.max() < 1
    histogram, _ = np.histogram(drawn, bins=10, range=(-1, 1))
    share = drawn.size / 10
    assert np.sum((histogram - share) ** 2 / share) < 40  # chi-square of 9, p = 1e-5
    some = np.array([1999, 7])
    np.testing.assert_array_equal(informative_init.uniform(all_keys[some], SHAPE), rows[some])


# ---- both initialisations


def informative() -> informative_init.Starts:
    """The Gaussians of three classes of greys 40 apart."""
    images, labels, _ = unequal()
    return informative_init.informative(images, labels, 3)


def classes_of(rows: Any) -> np.ndarray:
    """Which grey a row is nearest to: the classes' are 88, 128 and 168."""
    grey_level = (np.asarray(rows).mean(axis=(1, 2, 3)) + 1) * 127.5
    return np.rint((grey_level - 88) / 40).astype(int)


def test_fresh_rows_are_of_classes_drawn_uniformly() -> None:
    """A fresh row's class is uniform, whatever the classes' sizes; a row depends on its key."""
    rows = informative().fresh(keys(600))
    share = np.bincount(classes_of(rows), minlength=3)
    assert np.sum((share - 200) ** 2 / 200) < 23  # chi-square of 2, p = 1e-5
    some = informative().fresh(keys(600)[100:140])
    np.testing.assert_allclose(some, rows[100:140], rtol=0, atol=1e-6)


def test_a_filled_buffer_has_the_classes_in_turns() -> None:
    """Row i of a filled buffer is of class i mod C."""
    rows = informative().fill(keys(31))
    np.testing.assert_array_equal(classes_of(rows), np.arange(31) % 3)


def test_rows_of_given_classes() -> None:
    """Rows are of the classes asked for; one without a class is left at zero."""
    classes = np.array([2, 0, -1, 1, 2])
    rows = np.asarray(informative().of_classes(keys(5), classes))
    asked = classes >= 0
    np.testing.assert_array_equal(classes_of(rows[asked]), classes[asked])
    np.testing.assert_array_equal(rows[~asked], 0)


def test_the_uniform_start_has_no_classes() -> None:
    """Fresh, filled and of any class, the uniform start is the same function of the keys."""
    starts = informative_init.uniform_starts(SHAPE)
    expected = informative_init.uniform(keys(4), SHAPE)
    for rows in (
        starts.fresh(keys(4)),
        starts.fill(keys(4)),
        starts.of_classes(keys(4), np.arange(4)),
    ):
        np.testing.assert_array_equal(rows, expected)
