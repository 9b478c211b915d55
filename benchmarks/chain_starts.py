"""Time and memory of the informative initialisation: a whole buffer, and the rows of a feed.

  python -m benchmarks.chain_starts --data cifar100 --data_dir FOLDER
  python -m benchmarks.chain_starts --data random     # as many and as large as CIFAR-10's

Prints one JSON line; `feed_call_seconds`: until the call that makes a feed is back, its rows still
in the making; `peak_gib` is the process's largest resident memory, `base_gib` what it had with the
data set loaded and nothing drawn.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import jax
import numpy as np

from benchmarks import timing
from sadajem_jax.cli import config as config_files
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import DatasetSpec
from sadajem_jax.inference import build
from sadajem_jax.randomness import row_keys
from sadajem_jax.training import experiment, recipes
from sadajem_jax.training.experiment import Experiment

SETS = ("cifar10", "cifar100", "digits")


def main() -> None:
    """Draws a buffer twice (the first compiles) and makes a few feeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("random", *SETS), default="cifar10")
    parser.add_argument("--data_dir", default=None)
    args = parser.parse_args()
    is_random = args.data == "random"
    config = config_files.load(f"configs/{'cifar10' if is_random else args.data}.py")
    recipe = recipes.of(config)
    images = noise(recipe.spec) if is_random else loading.load(recipe.spec, "train", args.data_dir)
    made = experiment.build(recipe, images)
    starts = build.starts(recipe.settings, recipe.spec, made.data.images, images.labels)
    keys = row_keys(jax.random.key(0), config.buffer.size)
    base = resident_gib()
    fill = [timing.seconds_of(lambda: starts.fill(keys)) for _ in range(2)]
    feeds = [feed_seconds(made, step) for step in (0, 64, 128, 192)]
    call, whole = np.median(feeds[1:], axis=0)  # the first compiles
    result = {
        "data": args.data,
        "buffer": config.buffer.size,
        "fill_seconds": fill[1],
        "fill_seconds_with_compilation": fill[0],
        "feed_seconds": whole,
        "feed_call_seconds": call,
        "feed_steps": made.feeder.window,
        "base_gib": base,
        "peak_gib": resident_gib(),
        "device_kind": jax.devices()[0].device_kind,
        "jax_version": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps(result))


def noise(spec: DatasetSpec) -> Images:
    """As many images as the set has, in turns of its classes."""
    shape = (spec.num_train, *spec.image_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return Images(images, np.arange(len(images), dtype=np.int32) % spec.num_classes)


def feed_seconds(made: Experiment, step: int) -> tuple[float, float]:
    """Seconds until the call is back, and until the feed is there."""
    start = time.perf_counter()
    feed, _ = made.feeder.feed(step)
    back = time.perf_counter() - start
    jax.block_until_ready(feed)
    return back, time.perf_counter() - start


def resident_gib() -> float:
    """The process's largest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
