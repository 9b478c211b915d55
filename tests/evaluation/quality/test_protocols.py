"""The released protocol and the plain one: which images they compare, and under which names."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from sadajem_jax.evaluation.quality import protocols
from sadajem_jax.evaluation.quality.frechet import distance, moments
from sadajem_jax.evaluation.quality.inception_score import score
from sadajem_jax.evaluation.quality.reference import of_features
from sadajem_jax.evaluation.selection import most_confident
from tests.evaluation.quality import drawn

RNG = np.random.default_rng(0)
GENERATED = RNG.uniform(-1, 1, (60, 2, 2, 1)).astype(np.float32)
LOGITS = RNG.normal(size=(60, 3))
REAL = of_features(RNG.integers(0, 256, (80, 4)).astype(np.float32))


def test_released_takes_confident_images_unrounded() -> None:
    """IS is of the most confident 10% a class, FID of 90%, of images of 0..255 with fractions."""
    found = dict(protocols.released(GENERATED, LOGITS, drawn.pixels(), REAL))
    rows = ((GENERATED.astype(np.float64) + 1) * 127.5).reshape(60, 4)
    sharp, most = most_confident(LOGITS, 0.1), most_confident(LOGITS, 0.9)
    assert 0 < len(sharp) < 7 < 50 < len(most) < 60
    expected_score = score(softmax(rows[sharp] / 50, axis=-1), 1)
    expected_fid = distance(moments(rows[most]), REAL.moments)
    assert found == {
        "samples/released/inception_score": pytest.approx(expected_score.value, rel=1e-4),
        "samples/released/inception_score_std": 0,
        "samples/released/inception_score_images": len(sharp),
        "samples/released/fid": pytest.approx(expected_fid.value, rel=1e-4),
        "samples/released/fid_images": len(most),
    }


def test_released_scale_ends_just_below_white() -> None:
    """-1 is 0, 1 is 255 within 0.002, what lies outside is clipped, and fractions stay."""
    found = protocols.released_images(np.array([-1.5, -1, 0.001, 1, 3], np.float32))
    np.testing.assert_allclose(found, [0, 0, 127.6275, 255, 255], atol=2e-3)
    assert found.max() <= 255


def test_plain_takes_all_images_as_bytes() -> None:
    """FID is that of all images after rounding to bytes, and every measure has its name."""
    found = dict(protocols.plain(GENERATED, drawn.pixels(), REAL))
    rows = np.rint((GENERATED + 1) * 127.5).reshape(60, 4)
    assert found["samples/fid"] == pytest.approx(distance(moments(rows), REAL.moments).value)
    names = "images inception_score inception_score_std fid fid_infinity kid kid_std"
    names = f"{names} precision recall density coverage"
    assert set(found) == {f"samples/{name}" for name in names.split()}
    assert found["samples/images"] == 60
    assert np.isfinite(list(found.values())).all()


def test_plain_splits_do_not_follow_the_order_of_the_images() -> None:
    """Images that lie class by class score in 10 splits about what they do in one."""
    images = np.repeat(np.eye(4) * 2 - 1, 100, axis=0).reshape(400, 2, 2, 1)
    extractor = drawn.pixels(weights=4)
    found = dict(protocols.plain(images.astype(np.float32), extractor, REAL))
    assert found["samples/inception_score"] > 3.7  # 4 classes; in order each split would score 1


def test_another_network_is_never_called_fid() -> None:
    """Its names carry the network's, the distance is Frechet's, and there is no score."""
    found = dict(protocols.plain(GENERATED, drawn.pixels("efficientnet_lite0"), REAL))
    names = "images frechet frechet_infinity kid kid_std precision recall density coverage"
    assert set(found) == {f"samples/efficientnet_lite0/{name}" for name in names.split()}


def test_cifar10s_released_reference_is_both_splits() -> None:
    """Training and test images, as they are."""
    train, test = np.zeros((3, 2, 2, 3), np.uint8), np.ones((2, 2, 2, 3), np.uint8)
    found = protocols.released_reference("cifar10", train, test)
    np.testing.assert_array_equal(found, np.concatenate([train, test]))


def test_cifar100s_released_reference_moves_a_quarter_of_the_values() -> None:
    """Training images alone; dark values move down by one, bright ones up, a quarter in all."""
    train = np.arange(256, dtype=np.uint8).repeat(300).reshape(100, 16, 16, 3)
    found = protocols.released_reference("cifar100", train, train[:1])
    assert found.shape == train.shape and found.dtype == np.uint8
    moved = found.astype(int) - train
    assert set(np.unique(moved)) == {-1, 0, 1}
    assert (moved[train < 127] <= 0).all() and (moved[train > 128] >= 0).all()
    assert np.mean(moved != 0) == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(found, protocols.released_reference("cifar100", train, train))
