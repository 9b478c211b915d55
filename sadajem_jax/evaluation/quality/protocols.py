"""Which images are compared with which: the released program's way, and the plain one.

The paper's IS and FID are of images chosen by the classifier's own confidence, which it does not
say. They are comparable with nobody else's, so the plain numbers always stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import softmax

from sadajem_jax.evaluation.quality import frechet, inception, inception_score, kid, neighbours
from sadajem_jax.evaluation.quality.extractor import Extractor
from sadajem_jax.evaluation.quality.measured import Measured
from sadajem_jax.evaluation.quality.reference import Reference
from sadajem_jax.evaluation.selection import most_confident
from sadajem_jax.inference.pictures import to_uint8

SCORE_SHARE, DISTANCE_SHARE = 0.1, 0.9  # of each predicted class, the most confident first
SHUFFLE = 20_230_618  # always the same noise and order

Numbers = Iterator[tuple[str, float]]


def released_reference(name: str, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The real images that the released program compares with.

    Args:
      name: of the data set.
      train: uint8 [N, H, W, channels].
      test: uint8 [M, H, W, channels].

    Returns:
      uint8: of CIFAR-10 both splits as they are; of the others the training images after the
      program's own dequantisation, which is drawn from a fixed seed here.
    """
    if name == "cifar10":
        return np.concatenate([train, test])
    return with_noise(train)


def with_noise(images: np.ndarray) -> np.ndarray:
    """Bytes after noise U(+-1/512) on the scale of [0, 1] and the floor of 256 times that.

    A quarter of the values moves by one: dark ones down, bright ones up.
    """
    rng = np.random.default_rng(SHUFFLE)
    made = np.empty_like(images)
    for row, image in enumerate(images):
        moved = image / 255 + rng.uniform(-1 / 512, 1 / 512, image.shape)
        made[row] = np.clip(moved * 256, 0, 255).astype(np.uint8)
    return made


def released_images(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as the released program shows them to Inception: 0..255, not rounded."""
    # Its 1e-5 in the denominator makes white 254.9987.
    return (np.clip(images, -1, 1).astype(np.float32) + 1) / np.float32(2 + 1e-5) * 255


def released(
    images: np.ndarray, logits: np.ndarray, extractor: Extractor, real: Reference
) -> Numbers:
    """IS of the most confident 10% of each predicted class, FID of the most confident 90%.

    Args:
      images: generated, [N, H, W, channels] in [-1, 1].
      logits: [N, C] of the classifier that generated them.
      extractor: Inception.
      real: the reference of `released_reference`.

    Yields:
      samples/released/: inception_score, inception_score_std, inception_score_images, fid and
      fid_images.

    Raises:
      ValueError: if the choice leaves too few images.
    """
    chosen = {share: most_confident(logits, share) for share in (SCORE_SHARE, DISTANCE_SHARE)}
    seen = extractor(released_images(images))
    probs = softmax(seen["logits"][chosen[SCORE_SHARE]].astype(np.float64), axis=-1)
    splits = inception_score.released_splits(len(probs))
    yield from _named("samples/released/inception_score", inception_score.score(probs, splits))
    features = seen["features"][chosen[DISTANCE_SHARE]]
    yield from _named(
        "samples/released/fid", frechet.distance(frechet.moments(features), real.moments)
    )


def plain(images: np.ndarray, extractor: Extractor, real: Reference) -> Numbers:
    """All measures of all images, rounded to bytes as a file would, against the training images.

    Args:
      images: generated, [N, H, W, channels] in [-1, 1].
      extractor: Inception or another.
      real: the reference of the training images.

    Yields:
      samples/: images; with Inception, inception_score (10 splits), fid and fid_infinity, with
      another network samples/<its name>/ and frechet and frechet_infinity instead; kid, precision,
      recall, density and coverage; _std where there are splits or subsets.

    Raises:
      ValueError: if there are too few images.
    """
    seen = extractor(to_uint8(images))
    features, is_inception = seen["features"], extractor.name == inception.NAME
    prefix = "samples" if is_inception else f"samples/{extractor.name}"
    distance = f"{prefix}/fid" if is_inception else f"{prefix}/frechet"
    yield f"{prefix}/images", float(len(images))
    if is_inception:
        # A buffer lies class by class, where a split would hold but a tenth of the classes.
        order = np.random.default_rng(SHUFFLE).permutation(len(images))
        probs = softmax(seen["logits"][order].astype(np.float64), axis=-1)
        yield from _named(
            f"{prefix}/inception_score",
            inception_score.score(probs, inception_score.PLAIN_SPLITS),
            count=False,
        )
    measures = {
        distance: frechet.distance(frechet.moments(features), real.moments),
        f"{distance}_infinity": frechet.extrapolated(features, real.moments),
        f"{prefix}/kid": kid.distance(features, real.features),
    }
    for name, measured in measures.items():
        yield from _named(name, measured, count=False)
    for name, measured in neighbours.measures(features, real.features).items():
        yield from _named(f"{prefix}/{name}", measured, count=False)


def _named(name: str, measured: Measured, count: bool = True) -> Numbers:
    yield name, measured.value
    if measured.std is not None:
        yield f"{name}_std", measured.std
    if count:
        yield f"{name}_images", float(measured.n)
