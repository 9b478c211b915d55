"""Images a second of each of AutoAttack's attacks, on a Wide-ResNet with first weights.

  python -m benchmarks.autoattack --depth 10 --width 1

Prints one JSON line. A number of steps is timed after compilation and scaled to the whole attack,
its nine targets included: each would take every image, as if none broke before.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import jax
import numpy as np

from sadajem_jax.evaluation.autoattack.attack import Attack, Rows
from sadajem_jax.evaluation.autoattack.batches import Placement, Runner
from sadajem_jax.evaluation.autoattack.campaign import Name
from sadajem_jax.evaluation.autoattack.checks import MOST_TARGETS
from sadajem_jax.evaluation.autoattack.driver import standard
from sadajem_jax.wide_resnet import WideResNet

STEPS = 10  # timed, of an attack by gradients; Square has CHUNK queries a program


def main() -> None:
    """Times the four attacks on one batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("depth", 10), ("width", 1), ("image_size", 32), ("batch_size", 50)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--norm", choices=("l_inf", "l_2"), default="l_inf")
    args = parser.parse_args()
    network: Any = WideResNet(args.depth, args.width, 10)
    images = np.random.default_rng(0).uniform(
        size=(args.batch_size, args.image_size, args.image_size, 3)
    )
    images = images.astype(np.float32)
    variables = network.init(jax.random.key(0), images)

    def logits(variables: Any, images: jax.Array) -> jax.Array:
        return network.apply(variables, 2 * images - 1)

    attacks = standard(logits, images.shape[1:], norm=args.norm)
    found = {name.text: rate(name, attack, variables, images) for name, attack in attacks.items()}
    settings = {**vars(args), "device_kind": jax.devices()[0].device_kind}
    date = time.strftime("%Y-%m-%d")
    result = {**settings, "images_per_second": found, "jax_version": jax.__version__, "date": date}
    print(json.dumps(result))


def rate(name: Name, attack: Attack, variables: Any, images: np.ndarray) -> float:
    """Images a second of the whole attack."""
    placement = Placement(variables, len(images), devices=jax.local_devices()[:1])
    zeros = np.zeros(len(images), np.int32)
    keys = jax.random.split(jax.random.key(0), len(images))
    eps = np.full(len(images), 8 / 255, np.float32)
    values: Any = (images, zeros, zeros + 1, keys, eps)
    rows = Rows(*values)
    steps = STEPS if attack.gradients else 100
    runner = Runner(attack._replace(num_steps=steps, done=None, every=0), placement)
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        runner(rows)
        seconds = time.perf_counter() - start
    times = MOST_TARGETS if name in (Name.APGD_T, Name.FAB_T) else 1
    return float(f"{len(images) / (seconds * attack.num_steps / steps * times):.3g}")


if __name__ == "__main__":
    main()
