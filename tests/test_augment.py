"""Pixels to floats, and the augmentation of the labelled batch."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import augment

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 8, 2)).astype(np.uint8)


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """No silent change of dtype in this file."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def crop_flip(keys: jax.Array, images: jax.Array, pad: int, flip: bool) -> np.ndarray:
    """The augmentation, compiled."""
    run = jax.jit(lambda k, x: augment.random_crop_flip(k, x, pad=pad, flip=flip))
    return np.asarray(run(keys, images))


def many(pad: int, flip: bool, count: int = 400) -> np.ndarray:
    """Augmentations of one image under many keys."""
    keys = jax.random.split(jax.random.key(0), count)
    images = jnp.broadcast_to(IMAGE, (count, *IMAGE.shape))
    return crop_flip(keys, images, pad, flip)


def windows(pad: int) -> dict[bytes, tuple[int, int]]:
    """Every window of the reflect-padded image, by its bytes."""
    height, width, _ = IMAGE.shape
    padded = np.pad(IMAGE, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    return {
        padded[i : i + height, j : j + width].tobytes(): (i, j)
        for i in range(2 * pad + 1)
        for j in range(2 * pad + 1)
    }


def test_every_output_is_a_window_of_the_reflect_padded_image() -> None:
    """Without a flip each output is a window of np.pad's reflection; all are equally likely."""
    known = windows(2)
    assert len(known) == 25
    found = [known[image.tobytes()] for image in many(2, flip=False)]  # KeyError: no window
    counts = np.zeros((5, 5))
    for place in found:
        counts[place] += 1
    assert np.sum((counts - 16) ** 2 / 16) < 65  # chi-square of 24, p = 1e-5


def test_half_of_the_outputs_are_mirrored() -> None:
    """With a flip each output is a window or its mirror image, half of them each."""
    known = windows(2)
    mirrored = 0
    for image in many(2, flip=True):
        is_mirrored = image.tobytes() not in known
        assert (image[:, ::-1] if is_mirrored else image).tobytes() in known
        mirrored += is_mirrored
    assert abs(mirrored - 200) < 5 * 10


def test_the_widest_padding_is_np_pad_s() -> None:
    """Padding of one less than the smaller side is still a reflection, its windows all known."""
    known = windows(5)
    assert all(image.tobytes() in known for image in many(5, flip=False))


def test_without_padding_and_flip_nothing_changes() -> None:
    """A pad of 0 and no flip return the images to the bit, in their dtype."""
    found = many(0, flip=False, count=8)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.broadcast_to(IMAGE, found.shape))


def test_an_image_is_augmented_by_its_key_alone() -> None:
    """An image's augmentation does not depend on the images beside it."""
    keys = jax.random.split(jax.random.key(1), 6)
    images = jax.random.randint(jax.random.key(2), (6, 6, 8, 2), 0, 256).astype(jnp.uint8)
    whole = crop_flip(keys, images, 2, True)
    some = np.array([4, 1])
    alone = crop_flip(keys[some], images[some], 2, True)
    np.testing.assert_array_equal(alone, whole[some])


@pytest.mark.parametrize("compiled", [False, True])
def test_bytes_become_floats_from_minus_one_to_one(compiled: bool) -> None:
    """0 is -1 and 255 is 1 exactly, and the 256 values are evenly spaced between, to rounding."""
    to_float = jax.jit(augment.to_float) if compiled else augment.to_float
    found = to_float(jnp.arange(256, dtype=jnp.uint8))
    assert found.dtype == jnp.float32
    assert found[0] == -1
    assert found[255] == 1
    np.testing.assert_allclose(found, np.arange(256) / 127.5 - 1, rtol=0, atol=2e-7)


def test_noise_is_normal_and_each_row_s_own() -> None:
    """Noise alone gives the images plus N(0, std^2), not clipped, each row its own."""
    images = jnp.broadcast_to(jnp.full(IMAGE.shape, 255, jnp.uint8), (200, *IMAGE.shape))
    keys = jax.random.split(jax.random.key(1), 200)
    run = jax.jit(lambda k: augment.augmented(k, images, augment.Augmentation(noise_std=0.03)))
    x = run(keys)
    noise = np.asarray(x, np.float64) - 1
    assert abs(noise.mean()) < 5 * 0.03 / np.sqrt(noise.size)
    assert abs(noise.std() / 0.03 - 1) < 5 / np.sqrt(2 * noise.size)
    assert (np.asarray(x) > 1).mean() > 0.4  # white goes beyond the range
    rows = noise.reshape(200, -1)
    assert len(np.unique(rows, axis=0)) == 200
    np.testing.assert_array_equal(run(keys[::-1]), x[::-1])


def test_dequantised_bytes_lie_in_their_256th_part() -> None:
    """A byte v becomes uniform on [v, v + 1) / 128 - 1; none leaves [-1, 1)."""
    images = jnp.asarray(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(50, 0))
    keys = jax.random.split(jax.random.key(2), 50)
    x = np.asarray(augment.dequantised(keys, images), np.float64)
    part = (x + 1) * 128 - np.asarray(images)
    assert part.min() >= -1e-5 and part.max() <= 1 + 1e-5 and x.min() >= -1 and x.max() < 1
    assert abs(part.mean() - 0.5) < 5 * np.sqrt(1 / 12 / part.size)
    assert abs(part.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / part.size)


def test_plain_images_draw_nothing() -> None:
    """Without keys an image is its bytes as floats; an augmentation of nothing is not random."""
    images = jnp.asarray(IMAGE[None])
    plain = augment.Augmentation()
    np.testing.assert_array_equal(augment.augmented(None, images, plain), augment.to_float(images))
    assert not plain.is_random and augment.Augmentation(flip=True).is_random
    keys = jax.random.split(jax.random.key(0), 1)
    crops = augment.augmented(keys, images, augment.Augmentation(2, True))
    same = augment.random_crop_flip(keys, images, pad=2, flip=True)
    np.testing.assert_array_equal(crops, augment.to_float(same))
