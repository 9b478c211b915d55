"""Which images are compared with which: the released program's way, and the plain one.

The paper's IS and FID are of images chosen by the classifier's own confidence, which it does not
say. They are comparable with nobody else's, so the plain numbers always stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import softmax

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.quality import frechet, inception_score
from sadajem_jax.evaluation.quality.extractor import Extractor
from sadajem_jax.evaluation.quality.frechet import Moments
from sadajem_jax.evaluation.quality.judging import Judged
from sadajem_jax.evaluation.quality.measured import Measured
from sadajem_jax.evaluation.selection import most_confident

SCORE_SHARE, DISTANCE_SHARE = 0.1, 0.9  # of each predicted class, the most confident first
SHUFFLE = 20_230_618  # always the same noise

Numbers = Iterator[tuple[str, float]]


def pools_splits(name: str) -> bool:
    """Whether the released program compares with training and test images of this data set."""
    return name == "cifar10"


def released_sets(name: str, train: Sequence[np.ndarray], test: np.ndarray) -> list[np.ndarray]:
    """The real images that the released program compares with, in sets whose moments it pools.

    Args:
      name: of the data set.
      train: uint8 [N, H, W, channels] each, together all of the training split.
      test: uint8 [M, H, W, channels].

    Returns:
      uint8 each: of CIFAR-10 both splits as they are; of the others the training images after the
      program's own dequantisation, which is drawn from a fixed seed here.
    """
    return [*train, test] if pools_splits(name) else [with_noise(images) for images in train]


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
    images: np.ndarray,
    logits: np.ndarray,
    extractor: Extractor,
    real: Moments,
    progress: Advance | None = None,
) -> Numbers:
    """IS of the most confident 10% of each predicted class, FID of the most confident 90%.

    Args:
      images: generated, [N, H, W, channels] in [-1, 1].
      logits: [N, C] of the classifier that generated them.
      extractor: Inception.
      real: of `released_sets`, pooled.
      progress: is told how many images are done.

    Yields:
      samples/released/: inception_score, inception_score_std, inception_score_images, fid and
      fid_images.

    Raises:
      UserError: if the choice leaves too few images.
    """
    sharp, most = choose(logits)
    seen = extractor(released_images(images), progress)
    probs = softmax(seen["logits"][sharp].astype(np.float64), axis=-1)
    score = inception_score.score(probs, inception_score.released_splits(len(probs)))
    yield from named("samples/released/inception_score", score)
    fid = frechet.of_features(seen["features"][most], real)
    yield from named("samples/released/fid", fid)


def choose(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that IS is taken on, and those of FID; raises UserError where they are too few."""
    sharp, most = (most_confident(logits, share) for share in (SCORE_SHARE, DISTANCE_SHARE))
    if len(sharp) < 1 or len(most) < 2:
        raise UserError(
            f"the released protocol takes the most confident {SCORE_SHARE:.0%} of each predicted "
            f"class, which are {len(sharp)} of {len(logits):,} images; it needs more"
        )
    return sharp, most


def plain(judged: Judged, prefix: str = "samples") -> Numbers:
    """The numbers of all measures of all images.

    Args:
      judged: the measures.
      prefix: of the names.

    Yields:
      prefix/: images, those that were judged; reference_images, those that they were compared
      with; each measure by its name, and its _std where there are splits or subsets.
    """
    yield f"{prefix}/images", float(len(judged.features))
    yield f"{prefix}/reference_images", float(judged.real.moments.n)
    for name, measured in judged.measures.items():
        yield from named(f"{prefix}/{name}", measured, count=False)


def named(name: str, measured: Measured, count: bool = True) -> Numbers:
    """A measure's number, its spread where it has one, and the images that it is of."""
    yield name, measured.value
    if measured.std is not None:
        yield f"{name}_std", measured.std
    if count:
        yield f"{name}_images", float(measured.n)
