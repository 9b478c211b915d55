"""Precision, recall, density and coverage on planted overlaps."""

from __future__ import annotations

import numpy as np
import pytest

from sadajem_jax.evaluation.quality.neighbours import measures


def values(features: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """The four numbers alone."""
    found = measures(features, reference)
    assert {measured.n for measured in found.values()} == {len(features)}
    return {name: measured.value for name, measured in found.items()}


def test_equal_sets_overlap_wholly() -> None:
    """All four are 1: a ball of the 5th neighbour holds its own row and four others."""
    rows = np.random.default_rng(0).normal(size=(1200, 6)).astype(np.float32)
    assert values(rows, rows) == {"precision": 1, "recall": 1, "density": 1, "coverage": 1}


def test_planted_overlap() -> None:
    """Clumps at a, b, c: generated in a and b, real in a and c, so a quarter and three of each."""
    rng = np.random.default_rng(0)
    places = 100 * np.eye(3)[[0, 1, 0, 2]]
    sizes = 150, 450, 300, 100
    clumps = [place + rng.normal(size=(n, 3)) for place, n in zip(places, sizes, strict=True)]
    found = values(np.concatenate(clumps[:2]), np.concatenate(clumps[2:]))
    assert found["precision"] == pytest.approx(150 / 600, abs=0.02)
    assert found["recall"] == pytest.approx(300 / 400, abs=0.05)
    assert 0.5 < found["coverage"] <= 300 / 400
    assert found["density"] == pytest.approx(150 / 600, abs=0.1)


def test_far_apart_nothing_overlaps() -> None:
    """All four are 0."""
    rows = np.random.default_rng(0).normal(size=(50, 3))
    assert set(values(rows, rows + 100).values()) == {0}


def test_is_what_all_pairs_give() -> None:
    """Every number is that of a table of all distances, near and far from the origin."""
    rng = np.random.default_rng(0)
    fake, real = rng.normal(size=(70, 2)), 1.2 * rng.normal(size=(90, 2)) + 1.5

    def reach(rows: np.ndarray, k: int) -> np.ndarray:
        return np.sort(np.linalg.norm(rows[:, None] - rows, axis=-1), axis=1)[:, k]

    apart = np.linalg.norm(fake[:, None] - real, axis=-1)
    inside = apart < reach(real, 5)
    expected = {
        "precision": (apart <= reach(real, 3)).any(axis=1).mean(),
        "recall": (apart <= reach(fake, 3)[:, None]).any(axis=0).mean(),
        "density": inside.sum() / 5 / 70,
        "coverage": inside.any(axis=0).mean(),
    }
    assert 0 < expected["precision"] < 1 and 0 < expected["recall"] < 1
    assert values(fake, real) == pytest.approx(expected)
    assert values(fake + 1000, real + 1000) == pytest.approx(expected)


def test_too_few_rows_are_an_error() -> None:
    """Five rows have no fifth neighbour."""
    with pytest.raises(ValueError, match="more than 5 rows"):
        measures(np.zeros((9, 2)), np.zeros((5, 2)))
