"""Any images judged against any others, by any extractor: every measure in one call.

real, note = image_files.load("cifar/train")
images, note = image_files.load("samples.npz")
found = judge(images, inception.extractor("weights.npz"), real)
found.measures["fid"].value, found.measures["fid"].n
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.quality import frechet, inception, inception_score, kid, neighbours
from sadajem_jax.evaluation.quality.extractor import Extractor
from sadajem_jax.evaluation.quality.measured import Measured
from sadajem_jax.evaluation.quality.neighbours import Compared
from sadajem_jax.evaluation.quality.reference import Reference, reference
from sadajem_jax.inference.pictures import to_uint8

SHUFFLE = 20_230_618  # always the same order


class Judged(NamedTuple):
    """What a network makes of images beside real ones.

    Attributes:
      measures: with Inception inception_score (10 splits), fid and fid_infinity, with another
        network frechet and frechet_infinity instead; kid, precision, recall, density, coverage.
      features: [N, D] of the images.
      compared: image by image.
      real: what they were compared with.
    """

    measures: dict[str, Measured]
    features: np.ndarray
    compared: Compared
    real: Reference


def judge(
    images: np.ndarray,
    extractor: Extractor,
    real: np.ndarray | Reference,
    *,
    cache: str | os.PathLike[str] | None = None,
    progress: Advance | None = None,
) -> Judged:
    """All measures of images, rounded to bytes as a file would.

    Args:
      images: [N, H, W, 1 or 3], uint8, or floats in [-1, 1].
      extractor: Inception or another.
      real: images in the same form, or their `reference` by this extractor.
      cache: the folder to keep the reference of real images in; None keeps nothing.
      progress: is told how far each of the passes is.

    Returns:
      What was found.

    Raises:
      UserError: if there are too few images.
      ValueError: if they have another shape, kind or range.
    """
    m = real.moments.n if isinstance(real, Reference) else len(real)
    check(len(images), m, extractor.name)
    if not isinstance(real, Reference):
        real = reference(extractor, as_bytes(real), cache, progress)
    seen = extractor(as_bytes(images), progress)
    compared = neighbours.compare(seen["features"], real.features, progress)
    found = _distances(seen["features"], real, extractor.name, progress)
    found |= neighbours.shares(compared)
    if extractor.name == inception.NAME:
        found = {"inception_score": _score(seen["logits"]), **found}
    return Judged(found, seen["features"], compared, real)


def check(n: int, m: int, network: str) -> None:
    """Raises UserError where n images, or the m that they are compared with, are too few."""
    least = neighbours.DENSITY_K + 1
    wanted = max(least, inception_score.PLAIN_SPLITS) if network == inception.NAME else least
    if n < wanted or m < least:
        raise UserError(
            f"expected at least {wanted} images to judge and {least} to compare them with, found "
            f"{n:,} and {m:,}; give more"
        )


def as_bytes(images: np.ndarray) -> np.ndarray:
    """Images as a file holds them: uint8 as they are, floats in [-1, 1] rounded."""
    return images if images.dtype == np.uint8 else to_uint8(images)


def _score(logits: np.ndarray) -> Measured:
    # A buffer lies class by class, where a split would hold but a tenth of the classes.
    order = np.random.default_rng(SHUFFLE).permutation(len(logits))
    probs = softmax(logits[order].astype(np.float64), axis=-1)
    return inception_score.score(probs, inception_score.PLAIN_SPLITS)


def _distances(
    features: np.ndarray, real: Reference, network: str, progress: Advance | None
) -> dict[str, Measured]:
    name = "fid" if network == inception.NAME else "frechet"
    root = frechet.square_root(real.moments.covariance)
    at_infinity = frechet.extrapolated(features, real.moments, root, progress=progress)
    return {
        name: frechet.of_features(features, real.moments, root),
        f"{name}_infinity": at_infinity,
        "kid": kid.distance(features, real.features, progress=progress),
    }
