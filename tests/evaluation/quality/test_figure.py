"""The picture of what precision, density and coverage see."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from sadajem_jax.evaluation.quality import figure
from sadajem_jax.evaluation.quality.judging import judge
from tests.evaluation.quality import drawn


def test_shows_the_densest_the_farthest_and_the_missed() -> None:
    """Planted: samples all dark but three bright ones, real images dark but eight grey ones."""
    rng = np.random.default_rng(0)
    images, real = rng.integers(0, 20, (2, 40, 4, 4, 3)).astype(np.uint8)
    images[[3, 7, 20]] += np.array([225, 235, 215], np.uint8)[:, None, None, None]
    real[10:18] += 100  # more than five: a neighbourhood of these ends among them
    judged = judge(images, drawn.pixels("seen"), real)
    found = figure.beside("name", images, real, judged, "pixels")
    arrays = found.arrays
    assert arrays["outside/rows"][:3].tolist() == [7, 3, 20]  # the farthest first
    assert set(arrays["missed/rows"]) <= set(range(10, 18))
    assert not set(arrays["dense/rows"]) & {3, 7, 20}
    assert (np.diff(judged.compared.balls[arrays["dense/rows"]]) <= 0).all()
    np.testing.assert_array_equal(arrays["dense/images"], images[arrays["dense/rows"]])
    np.testing.assert_array_equal(arrays["missed/beside"], images[arrays["missed/nearest"]])
    with Image.open(io.BytesIO(found.data)) as picture:
        assert picture.width > 1000 and "k = 3" in found.caption


def test_nearest_are_the_nearest() -> None:
    """Rows are in the order of their distance, by a table of all of them; few rows are all."""
    rng = np.random.default_rng(0)
    queries, rows = 1000 + rng.normal(size=(4, 3)), 1000 + rng.normal(size=(30, 3))
    apart = np.linalg.norm(queries[:, None] - rows, axis=-1)
    expected = np.argsort(apart, axis=1)
    np.testing.assert_array_equal(figure.nearest(queries, rows, 5), expected[:, :5])
    assert figure.nearest(queries, rows[:2], 5).shape == (4, 2)


def test_few_images_leave_blanks() -> None:
    """Of equal sets nothing lies outside, and the picture is as large as any."""
    images = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 1)).astype(np.uint8)
    judged = judge(images, drawn.pixels("seen"), images)
    found = figure.beside("name", images, images, judged, "pixels")
    assert found.arrays["outside/rows"].size == found.arrays["missed/rows"].size == 0
    assert found.data.startswith(b"\x89PNG")
