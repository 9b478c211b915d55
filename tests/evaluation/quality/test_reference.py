"""Reference statistics: computed once, known by data and weights, verified when read."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from sadajem_jax.evaluation.quality import reference as references
from sadajem_jax.evaluation.quality.extractor import Extractor
from sadajem_jax.evaluation.quality.frechet import moments
from sadajem_jax.evaluation.quality.reference import reference
from tests.evaluation.quality import drawn

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 2, 2, 3)).astype(np.uint8)


class Counted:
    """An extractor that counts its passes."""

    def __init__(self, inner: Extractor) -> None:
        self.inner, self.name, self.fingerprint = inner, inner.name, inner.fingerprint
        self.passes = 0

    def __call__(self, images: np.ndarray, progress: Any = None) -> dict[str, np.ndarray]:
        self.passes += 1
        return self.inner(images, progress)


def passes(images: np.ndarray, cache: pathlib.Path, weight: float = 1) -> int:
    """How often the network saw the images; the reference is checked against its definition."""
    counted = Counted(drawn.pixels(weights=weight))
    found = reference(counted, images, cache)  # type: ignore[arg-type]
    features = weight * images.reshape(len(images), -1).astype(np.float32)
    for value, expected in zip(found.moments, moments(features), strict=True):
        np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(found.features, features)
    return counted.passes


def test_is_computed_once_for_data_and_weights(tmp_path: pathlib.Path) -> None:
    """The second call reads the file, to the bit; other images or weights have a file of theirs."""
    assert [passes(IMAGES, tmp_path) for _ in range(3)] == [1, 0, 0]
    assert passes(255 - IMAGES, tmp_path) == 1
    assert passes(IMAGES, tmp_path, weight=2) == 1
    assert passes(IMAGES, tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_or_foreign_file_is_made_anew(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A flipped byte, half a file or another's under this name is said, and never used."""
    passes(255 - IMAGES, tmp_path)
    (other,) = tmp_path.iterdir()
    foreign = other.read_bytes()
    other.unlink()
    passes(IMAGES, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for data in (bytes(flipped), whole[: len(whole) // 2], foreign):
        file.write_bytes(data)
        caplog.clear()
        assert passes(IMAGES, tmp_path) == 1
        assert file.name in caplog.text
        assert file.read_bytes() == whole


def test_keeps_a_fixed_part_of_many_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments are of all rows, the features of the same few of them each time."""
    monkeypatch.setattr(references, "KEPT", 7)
    rows = np.random.default_rng(0).normal(size=(30, 2))
    first, second = references.of_features(rows), references.of_features(rows)
    assert first.moments.n == 30 and first.features.shape == (7, 2)
    np.testing.assert_array_equal(first.features, second.features)
    assert {tuple(row) for row in first.features} <= {tuple(row) for row in rows}


def test_a_cache_that_cannot_be_written_costs_no_result(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The reference is there, shared by those who ask again, and a line says why it is not kept."""
    (tmp_path / "file").touch()
    counted = Counted(drawn.pixels())
    kept = references.References(tmp_path / "file")
    for _ in range(2):
        found = kept.of(counted, IMAGES)  # type: ignore[arg-type]
    assert counted.passes == 1 and found.moments.n == 40
    assert "could not be kept" in caplog.text
    assert kept.has(counted, IMAGES) and not kept.has(counted, 255 - IMAGES)  # type: ignore[arg-type]
