"""Inception Score: golden values and closed forms."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from sadajem_jax.evaluation.quality.inception_score import released_splits, score
from tests import places


@pytest.mark.parametrize(
    "path", places.golden_files("is/probs"), ids=lambda p: p.stem if p else "none"
)
def test_is_the_released_programs_score(path: pathlib.Path | None) -> None:
    """Mean and deviation over splits of uneven sizes, to 1e-12."""
    arrays = places.opened(path)
    found = score(arrays["is/probs"], int(arrays["is/splits"]))
    assert found.std is not None
    np.testing.assert_allclose(found.value, arrays["is/mean"], rtol=1e-12)
    np.testing.assert_allclose(found.std, arrays["is/std"], rtol=1e-9)
    assert found.n == len(arrays["is/probs"])


def test_certain_images_of_all_classes_score_their_number() -> None:
    """One-hot rows, equally many of 7 classes, score 7: zeros add nothing."""
    assert score(np.eye(7)[np.arange(70) % 7], 10).value == pytest.approx(7)


def test_images_that_tell_nothing_score_one() -> None:
    """Equal rows score 1, however certain."""
    row = np.array([[0.7, 0.2, 0.1]])
    assert score(np.repeat(row, 50, axis=0), 5) == (pytest.approx(1), 50, pytest.approx(0))


def test_two_kinds_of_images() -> None:
    """Halves of (p, 1 - p) and (1 - p, p) score 2 exp(-H(p))."""
    p = 0.9
    rows = np.array([[p, 1 - p], [1 - p, p]] * 25)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert score(rows, 1).value == pytest.approx(2 * np.exp(-entropy))


def test_splits() -> None:
    """The released program splits by 5,000; more splits than rows raise."""
    assert [released_splits(n) for n in (10, 4999, 9999, 50_000)] == [1, 1, 1, 10]
    with pytest.raises(ValueError, match="splits"):
        score(np.full((3, 2), 0.5), 4)
