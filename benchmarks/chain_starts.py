"""Time and memory of the informative initialisation: a whole buffer, and the rows of a feed.

  python -m benchmarks.chain_starts --data cifar100 --data_dir FOLDER

Prints one JSON line; `peak_gib` is the process's largest resident memory, `base_gib` what it had
with the data set loaded and nothing drawn.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import time

import jax

from benchmarks import timing
from sadajem_jax.cli import config as config_files
from sadajem_jax.data import loading
from sadajem_jax.inference import build
from sadajem_jax.randomness import row_keys
from sadajem_jax.training import experiment, recipes


def main() -> None:
    """Draws a buffer twice (the first compiles) and the rows of two feeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("cifar10", "cifar100", "digits"), default="cifar10")
    parser.add_argument("--data_dir", default="")
    args = parser.parse_args()
    config = config_files.load(f"configs/{args.data}.py")
    recipe = recipes.of(config)
    images = loading.load(recipe.spec, "train", args.data_dir or None)
    made = experiment.build(recipe, images)
    starts = build.starts(recipe.settings, recipe.spec, made.data.images, images.labels)
    keys = row_keys(jax.random.key(0), config.buffer.size)
    base = resident_gib()
    fill = [timing.seconds_of(lambda: starts.fill(keys)) for _ in range(2)]
    feeds = [timing.seconds_of(functools.partial(made.feeder.feed, step)) for step in (0, 64)]
    result = {
        "data": args.data,
        "buffer": config.buffer.size,
        "fill_seconds": fill[1],
        "fill_seconds_with_compilation": fill[0],
        "feed_seconds": feeds[1],
        "feed_steps": made.feeder.window,
        "base_gib": base,
        "peak_gib": resident_gib(),
        "device_kind": jax.devices()[0].device_kind,
        "jax_version": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps(result))


def resident_gib() -> float:
    """The process's largest resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
