"""What generated images are compared with, computed once for a data set and a network, and kept."""

from __future__ import annotations

import hashlib
import logging
import os
import pathlib
from typing import NamedTuple

import numpy as np

from sadajem_jax.console import processes
from sadajem_jax.console.progress import Advance
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


class References:
    """References that several pieces of work share: each is made once, and kept in a folder too.

    Args:
      cache: the folder, as of `reference`.
    """

    def __init__(self, cache: str | os.PathLike[str]) -> None:
        self._cache = cache
        self._made: dict[str, Reference] = {}

    def of(
        self, extractor: Extractor, images: np.ndarray, progress: Advance | None = None
    ) -> Reference:
        """The reference of images; see `reference`."""
        key = str(_meta(extractor, images))
        if any(processes.meet(key not in self._made)):
            self._made[key] = reference(extractor, images, self._cache, progress)
        return self._made[key]

    def has(self, extractor: Extractor, images: np.ndarray) -> bool:
        """Whether the reference of these images is there, or seems to be."""
        meta = _meta(extractor, images)
        return str(meta) in self._made or _file(self._cache, extractor, meta).exists()


def reference(
    extractor: Extractor,
    images: np.ndarray,
    cache: str | os.PathLike[str] | None = None,
    progress: Advance | None = None,
) -> Reference:
    """The reference of a set of real images; from the cache where it is there.

    A file is taken only if its data, network and weights are those asked for and its contents have
    the checksum that they were written with; else it is made anew, and said so. Where one process
    of several has none, all make it: each has a part of the images, and maybe a cache of its own.

    Args:
      extractor: the network.
      images: [N, H, W, channels] of 0..255.
      cache: the folder to keep it in; None keeps nothing. One that cannot be written is said, and
        costs no result.
      progress: is told how many images are done.

    Returns:
      The reference.
    """
    meta = _meta(extractor, images)
    file = None if cache is None else _file(cache, extractor, meta)
    found = _cached(file, meta)
    if any(processes.meet(found is None)) or found is None:
        found = of_features(extractor(images, progress)["features"])
        if file is not None:
            _keep(file, found, meta)
    return found


def of_features(features: np.ndarray) -> Reference:
    """The reference of features [N, D]."""
    return Reference(moments(features), features[kept(len(features))])


def kept(n: int) -> np.ndarray:
    """Which of n images their features are kept of: ascending indices, always the same."""
    return np.sort(np.random.default_rng(SHUFFLE).permutation(n)[:KEPT])


def _meta(extractor: Extractor, images: np.ndarray) -> dict[str, object]:
    """What a file must be of: the images by their checksum, the network and its weights."""
    data = archive.checksum(images)
    return {"data": data, "extractor": extractor.fingerprint, "kept": KEPT}


def _file(
    cache: str | os.PathLike[str], extractor: Extractor, meta: dict[str, object]
) -> pathlib.Path:
    key = hashlib.sha256("\n".join(str(value) for value in meta.values()).encode())
    return pathlib.Path(cache).expanduser() / f"{extractor.name}-{key.hexdigest()[:16]}.npz"


def _keep(file: pathlib.Path, made: Reference, meta: dict[str, object]) -> None:
    try:
        archive.write(file, {**made.moments._asdict(), "features": made.features}, meta)
    except OSError as error:
        logger.warning("%s could not be kept for the next time (%s)", file, error)


def _cached(file: pathlib.Path | None, meta: dict[str, object]) -> Reference | None:
    if file is None or not file.exists():
        return None
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
