"""What generated images are compared with, computed once for a data set and a network, and kept."""

from __future__ import annotations

import hashlib
import logging
import os
import pathlib
from typing import NamedTuple

import numpy as np

from sadajem_jax.evaluation.quality import archive
from sadajem_jax.evaluation.quality.extractor import Extractor
from sadajem_jax.evaluation.quality.frechet import Moments, moments

logger = logging.getLogger(__name__)

KEPT = 10_000  # images whose features are kept, as many as a buffer has
SHUFFLE = 20_230_618  # always the same ones


class Reference(NamedTuple):
    """Real images, as a network sees them.

    Attributes:
      moments: of all of them.
      features: [M, D] of at most 10,000, for KID and the neighbourhoods, which depend on M.
    """

    moments: Moments
    features: np.ndarray


def reference(
    extractor: Extractor, images: np.ndarray, cache: str | os.PathLike[str] | None = None
) -> Reference:
    """The reference of a set of real images; from the cache where it is there.

    A file is taken only if its data, network and weights are those asked for and its contents have
    the checksum that they were written with; else it is made anew, and said so.

    Args:
      extractor: the network.
      images: [N, H, W, channels] of 0..255.
      cache: the folder to keep it in; None keeps nothing.

    Returns:
      The reference.

    Raises:
      OSError: if the cache's folder cannot be written.
    """
    meta = {"data": _of(images), "extractor": extractor.fingerprint, "kept": KEPT}
    file = None if cache is None else pathlib.Path(cache).expanduser() / _name(extractor, meta)
    if file is not None and file.exists():
        found = _cached(file, meta)
        if found is not None:
            return found
    made = of_features(extractor(images)["features"])
    if file is not None:
        archive.write(file, {**made.moments._asdict(), "features": made.features}, meta)
    return made


def of_features(features: np.ndarray) -> Reference:
    """The reference of features [N, D]."""
    order = np.random.default_rng(SHUFFLE).permutation(len(features))
    return Reference(moments(features), features[np.sort(order[:KEPT])])


def _of(images: np.ndarray) -> str:
    """A checksum of the images, their dtype and shape."""
    return archive.checksum(images)


def _name(extractor: Extractor, meta: dict[str, object]) -> str:
    key = hashlib.sha256("\n".join(str(value) for value in meta.values()).encode())
    return f"{extractor.name}-{key.hexdigest()[:16]}.npz"


def _cached(file: pathlib.Path, meta: dict[str, object]) -> Reference | None:
    try:
        arrays, found = archive.read(file)
    except archive.DamagedError as error:
        logger.warning("%s", error)
        return None
    if found != meta:
        logger.warning("%s is of another set or network; made anew", file)
        return None
    held = Moments(int(arrays["n"]), arrays["mean"], arrays["covariance"])
    return Reference(held, arrays["features"])
