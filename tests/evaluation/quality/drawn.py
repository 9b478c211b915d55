"""Weights of the Inception network drawn by the golden files' rule, and a small extractor."""

from __future__ import annotations

import functools
import json
import pathlib
import zlib
from typing import Any

import jax
import numpy as np

from sadajem_jax.evaluation.quality.extractor import Extractor
from tests import places

KEY = "cifar/pool_2048"  # by which a golden file of this network is told


@functools.cache
def state_dict(path: pathlib.Path | None) -> dict[str, np.ndarray]:
    """The port's state dict that a golden file's arrays were computed with."""
    meta = json.loads(str(places.opened(path)["meta"]))
    return {name: draw(name, tuple(shape), meta["salt"]) for name, shape in meta["parameters"]}


def draw(name: str, shape: tuple[int, ...], salt: int) -> np.ndarray:
    """One parameter, a function of its name."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), salt])
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith("bn.weight"):
        return rng.uniform(0.8, 1.2, shape).astype(np.float32)
    scale = 0.02 if name.startswith("fc.") else 0.1
    if name.endswith("conv.weight"):
        scale = np.sqrt(2 / np.prod(shape[1:]))
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def pixels(name: str = "inception", weights: float = 1) -> Extractor:
    """An extractor whose features and logits are the pixels times its one weight."""

    def per_image(weight: Any, images: jax.Array) -> dict[str, jax.Array]:
        flat = images.reshape(len(images), -1).astype(np.float32)
        return {"features": weight * flat, "logits": weight * flat / 50}

    return Extractor(name, per_image, np.float32(weights), version="1", batch_size=16)
