"""The released protocol and the plain one: which images they compare, and under which names."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation.quality import protocols
from sadajem_jax.evaluation.quality.frechet import distance, moments, pooled
from sadajem_jax.evaluation.quality.inception_score import score
from sadajem_jax.evaluation.quality.judging import judge
from sadajem_jax.evaluation.quality.reference import of_features, reference
from sadajem_jax.evaluation.selection import most_confident
from tests.evaluation.quality import drawn

RNG = np.random.default_rng(0)
GENERATED = RNG.uniform(-1, 1, (60, 2, 2, 1)).astype(np.float32)
LOGITS = RNG.normal(size=(60, 3))
REAL = of_features(RNG.integers(0, 256, (80, 4)).astype(np.float32))


def test_released_takes_confident_images_unrounded() -> None:
    """IS is of the most confident 10% a class, FID of 90%, of images of 0..255 with fractions."""
    found = dict(protocols.released(GENERATED, LOGITS, drawn.pixels(), REAL.moments))
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


def test_released_says_where_the_choice_is_too_small() -> None:
    """Of nine images a class the most confident 10% are none, and one line says so."""
    with pytest.raises(UserError, match="0 of 9 images"):
        next(protocols.released(GENERATED[:9], np.eye(9), drawn.pixels(), REAL.moments))


def test_plain_takes_all_images_as_bytes() -> None:
    """FID is that of all images after rounding to bytes, and every measure has its name."""
    found = dict(protocols.plain(judge(GENERATED, drawn.pixels(), REAL)))
    rows = np.rint((GENERATED + 1) * 127.5).reshape(60, 4)
    assert found["samples/fid"] == pytest.approx(distance(moments(rows), REAL.moments).value)
    names = "images reference_images inception_score inception_score_std fid fid_infinity kid"
    names = f"{names} kid_std precision recall density coverage"
    assert set(found) == {f"samples/{name}" for name in names.split()}
    assert found["samples/images"] == 60 and found["samples/reference_images"] == 80
    assert np.isfinite(list(found.values())).all()


def test_plain_splits_do_not_follow_the_order_of_the_images() -> None:
    """Images that lie class by class score in 10 splits about what they do in one."""
    images = np.repeat(np.eye(4) * 2 - 1, 100, axis=0).reshape(400, 2, 2, 1)
    extractor = drawn.pixels(weights=4)
    found = judge(images.astype(np.float32), extractor, REAL).measures
    assert found["inception_score"].value > 3.7  # 4 classes; in order each split would score 1


def test_another_network_is_never_called_fid() -> None:
    """Its names carry the network's, the distance is Frechet's, and there is no score."""
    judged = judge(GENERATED, drawn.pixels("efficientnet_lite0"), REAL)
    found = dict(protocols.plain(judged, "samples/efficientnet_lite0"))
    names = "images reference_images frechet frechet_infinity kid kid_std"
    names = f"{names} precision recall density coverage"
    assert set(found) == {f"samples/efficientnet_lite0/{name}" for name in names.split()}


def test_images_may_be_bytes_and_the_reference_images() -> None:
    """Bytes are judged as the floats that round to them; real images as their reference."""
    extractor = drawn.pixels()
    as_bytes = np.rint((GENERATED + 1) * 127.5).astype(np.uint8)
    real = np.random.default_rng(1).integers(0, 256, (80, 2, 2, 1)).astype(np.uint8)
    found = judge(as_bytes, extractor, real).measures
    assert found == judge(GENERATED, extractor, reference(extractor, real)).measures


def test_a_set_is_no_distance_from_itself() -> None:
    """FID is 0, KID at most 0, and every image lies in a neighbourhood of its own."""
    images = np.random.default_rng(1).integers(0, 256, (80, 2, 2, 1)).astype(np.uint8)
    found = judge(images, drawn.pixels(), images).measures
    assert abs(found["fid"].value) < 1e-6 * REAL.moments.covariance.trace()
    assert found["kid"].value <= 0
    assert {found[name].value for name in ("precision", "recall", "coverage")} == {1}


@pytest.mark.parametrize(("n", "m"), [(9, 80), (60, 5)])
def test_too_few_images_are_one_line(n: int, m: int) -> None:
    """Ten splits need ten images, and a fifth neighbour six."""
    real = np.zeros((m, 2, 2, 1), np.uint8)
    with pytest.raises(UserError, match=f"at least 10 .* and 6 .* found {n} and {m};"):
        judge(GENERATED[:n], drawn.pixels(), real)


def test_cifar10s_released_reference_is_both_splits() -> None:
    """Training and test images as they are; pooled, their moments are those of all together."""
    train, test = RNG.integers(0, 256, (2, 30, 2, 2, 3)).astype(np.uint8)
    found = protocols.released_sets("cifar10", [train], test[:20])
    assert [len(images) for images in found] == [30, 20]
    rows = [images.reshape(len(images), -1) for images in found]
    together, expected = pooled(*map(moments, rows)), moments(np.concatenate(rows))
    assert together.n == expected.n == 50
    np.testing.assert_allclose(together.mean, expected.mean, rtol=1e-9)
    np.testing.assert_allclose(together.covariance, expected.covariance, rtol=1e-9)


def test_cifar100s_released_reference_moves_a_quarter_of_the_values() -> None:
    """Training images alone; dark values move down by one, bright ones up, a quarter in all."""
    train = np.arange(256, dtype=np.uint8).repeat(300).reshape(100, 16, 16, 3)
    (found,) = protocols.released_sets("cifar100", [train], train[:1])
    assert found.shape == train.shape and found.dtype == np.uint8
    moved = found.astype(int) - train
    assert set(np.unique(moved)) == {-1, 0, 1}
    assert (moved[train < 127] <= 0).all() and (moved[train > 128] >= 0).all()
    assert np.mean(moved != 0) == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal([found], protocols.released_sets("cifar100", [train], train))
