"""Images a second of an evaluation's passes, on a Wide-ResNet with first weights.

    python -m benchmarks.session.evaluation --depth 28 --width 10

Prints one JSON line: `images_per_second` of a forward and of one with the gradient to the image, in
float32 at the highest precision, as every evaluation computes; `matmul_tflops` of a large product
so computed, and `predicted_images_per_second` at the roofline's share of it; device, versions.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from sadajem_jax.evaluation.costs import Cost, Speeds
from sadajem_jax.gpu_program import roofline
from sadajem_jax.wide_resnet import WideResNet

PIECES = {"forward": Cost(forwards=1), "gradient": Cost(gradients=1)}


def main() -> None:
    """Prints the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("depth", 28), ("width", 10), ("image_size", 32), ("batch_size", 500)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    speeds = speeds_of(args.depth, args.width, args.image_size, args.batch_size)
    with jax.default_matmul_precision("highest"):
        rate = timing.matmul_tflops("float32", size=None if args.batch_size > 100 else 128)
    ceiling = roofline.PEAK_SHARE * rate * 1e12
    found: dict[str, Any] = {
        "images_per_second": {name: 1 / speeds.seconds(piece) for name, piece in PIECES.items()},
        "predicted_images_per_second": {
            name: ceiling / speeds.flop(piece) for name, piece in PIECES.items()
        },
        "matmul_tflops": rate,
    }
    print(json.dumps({**vars(args), **found, **timing.environment()}), flush=True)


def speeds_of(depth: int, width: int, image_size: int, batch_size: int) -> Speeds:
    """How fast the device takes images through a network of first weights."""
    network, shape = WideResNet(depth, width, 10), (image_size, image_size, 3)
    variables: Any = network.init(jax.random.key(0), jnp.zeros((1, *shape)))
    return Speeds(network, variables, shape, batch_size)


if __name__ == "__main__":
    main()
