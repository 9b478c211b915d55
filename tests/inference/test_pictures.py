"""Tests of the conversion to bytes, of the grid of images and of the PNG files."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from sadajem_jax.inference import pictures

BYTES = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_uint8_inverts_the_scaling_of_the_data(dtype):
    """Every byte survives x / 127.5 - 1 and back, in NumPy and in JAX."""
    scaled = BYTES.astype(dtype) / dtype(127.5) - dtype(1)
    np.testing.assert_array_equal(pictures.to_uint8(scaled), BYTES)
    np.testing.assert_array_equal(pictures.to_uint8(jnp.asarray(BYTES) / 127.5 - 1), BYTES)


def test_to_uint8_rounds_to_the_nearest_byte():
    """A value less than half a level from a byte's own becomes that byte, from either side."""
    scaled = BYTES / 127.5 - 1
    for offset in -0.49, 0.49:
        np.testing.assert_array_equal(pictures.to_uint8(scaled + offset / 127.5), BYTES)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_to_uint8_takes_half_precision(dtype):
    """Half-precision images become the bytes nearest to the values they hold."""
    images = jnp.linspace(-1, 1, 10_000).astype(dtype)
    expected = np.rint((np.asarray(images, np.float64) + 1) * 127.5)
    np.testing.assert_array_equal(pictures.to_uint8(images), expected)


def test_to_uint8_clips():
    """Values beyond the range, infinities too, become the nearest end and never wrap around."""
    images = np.array([-np.inf, -1.01, 1.01, 3.0, np.inf], np.float32)
    assert pictures.to_uint8(images).tolist() == [0, 0, 255, 255, 255]


def test_to_uint8_refuses_bytes_and_nan():
    """Images that are bytes already, and images with NaN, are errors that say what was found."""
    with pytest.raises(TypeError, match="uint8"):
        pictures.to_uint8(BYTES)
    with pytest.raises(ValueError, match="1 NaN of 2"):
        pictures.to_uint8(np.array([0.0, np.nan]))


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (5, 2, 3), (9, 3, 3), (10, 3, 4)]
)
def test_grid_is_near_square(count, rows, columns):
    """Without a number of columns, the grid is the smallest that is at most a row from square."""
    shape = pictures.grid(np.zeros((count, 4, 6, 3), np.uint8)).shape
    assert shape == (rows * 6 - 2, columns * 8 - 2, 3)


def test_grid_places_every_pixel():
    """Image i stands at row i // columns and column i % columns, unchanged; the rest is white.

    A cell that has no image is light grey, apart from the gaps and from any black picture.
    """
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 6, 3), np.uint8)
    picture = pictures.grid(images, columns=2)
    assert picture.dtype == np.uint8 and picture.shape == (16, 14, 3)
    for i, image in enumerate(images):
        top, left = 6 * (i // 2), 8 * (i % 2)
        cell = picture[top : top + 4, left : left + 6]
        np.testing.assert_array_equal(cell, image)
        cell[...] = 255
    empty = picture[12:16, 8:14]
    assert (empty == empty[0, 0]).all() and 192 < empty[0, 0, 0] < 255
    empty[...] = 255
    assert (picture == 255).all()


def test_grid_enlarges_smoothly_and_shows_grey_in_colour():
    """A ramp stays a ramp, s times as wide, without steps; one channel becomes three equal."""
    ramp = np.broadcast_to(np.arange(0, 240, 20, dtype=np.uint8), (12, 12))
    picture = pictures.grid(ramp[None, :, :, None], scale=5)
    assert picture.shape == (60, 60, 3)
    for channel in range(3):
        inside = picture[:, 10:50, channel].astype(int)
        np.testing.assert_allclose(
            inside, np.broadcast_to(32 + 4 * np.arange(40), (60, 40)), atol=2
        )


def test_enlarging_keeps_colours_and_order():
    """Images of one colour stay so, each at its place, in every channel and shape."""
    colours = np.random.default_rng(0).integers(0, 256, (5, 1, 1, 3), np.uint8)
    found = pictures.enlarged(np.broadcast_to(colours, (5, 4, 6, 3)), 3)
    np.testing.assert_array_equal(found, np.broadcast_to(colours, (5, 12, 18, 3)))
    one = np.full((2, 1, 1, 1), 7, np.uint8)
    np.testing.assert_array_equal(pictures.enlarged(one, 2), np.full((2, 2, 2, 1), 7, np.uint8))


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (4, 4, 3), (2, 4, 4, 2)])
def test_grid_refuses_other_shapes(shape):
    """Images of another shape are an error that names the shape found."""
    with pytest.raises(ValueError, match=r"found uint8 \[" + ", ".join(map(str, shape))):
        pictures.grid(np.zeros(shape, np.uint8))


def test_grid_refuses_floats_and_empty_rows():
    """Images in [-1, 1], zero columns and a zero scale are errors."""
    with pytest.raises(ValueError, match="to_uint8"):
        pictures.grid(np.zeros((1, 4, 4, 3), np.float32))
    for arguments in {"columns": 0}, {"scale": 0}:
        with pytest.raises(ValueError, match=">= 1"):
            pictures.grid(np.zeros((1, 4, 4, 3), np.uint8), **arguments)


def test_png_holds_the_picture(tmp_path):
    """A saved picture reads back bit for bit, and stands alone in its new folder."""
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    path = tmp_path / "pictures" / "samples.png"
    pictures.save_png(path, picture)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert [p.name for p in path.parent.iterdir()] == ["samples.png"]


def test_png_refuses_other_shapes(tmp_path):
    """Anything but uint8 [H, W, 3] is an error, and no file appears."""
    for image in np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8):
        with pytest.raises(ValueError, match="expected uint8"):
            pictures.save_png(tmp_path / "samples.png", image)
    assert not list(tmp_path.iterdir())
