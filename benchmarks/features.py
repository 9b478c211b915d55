"""Images a second of the networks that judge samples, with random weights.

python -m benchmarks.features [IMAGES [BATCH]]
"""

from __future__ import annotations

import sys
import time
from typing import Any

import jax
import numpy as np

from sadajem_jax.evaluation.quality import efficientnet, inception
from sadajem_jax.evaluation.quality.extractor import Extractor

NETWORKS = {
    "inception": (inception.InceptionV3, "pool_2048"),
    "efficientnet_lite0": (efficientnet.EfficientNetLite0, "features"),
}


def extractor(name: str, batch_size: int) -> Extractor:
    """A network that says what it sees, on weights that keep activations finite."""
    network, features = NETWORKS[name]
    rng = np.random.default_rng(0)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    template = jax.eval_shape(network().init, jax.random.key(0), images)

    def per_image(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
        found: Any = network().apply(variables, images)
        return {"features": found[features]}

    draw = jax.tree.map(lambda x: rng.normal(0, 0.02, x.shape).astype(np.float32), template)
    return Extractor(name, per_image, draw, version="0", batch_size=batch_size)


def main(num_images: int = 200, batch_size: int = 50) -> None:
    """Prints a line a network, its compilation left out."""
    images = np.random.default_rng(0).integers(0, 256, (num_images, 32, 32, 3)).astype(np.uint8)
    for name in NETWORKS:
        run = extractor(name, batch_size)
        run(images[:batch_size])
        start = time.perf_counter()
        run(images)
        rate = num_images / (time.perf_counter() - start)
        print(f"{name}: {rate:.1f} images/s in batches of {batch_size}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
