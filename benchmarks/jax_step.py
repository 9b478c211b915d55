"""The one place where the benchmarks reach this project's training step.

The step, the buffer, the fresh rows and the form of the compiled program (looped on a GPU, one step
a dispatch on the CPU) are the trainer's own; only the training images are random.
"""

from __future__ import annotations

import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import backend
from sadajem_jax.cli import config as config_files
from sadajem_jax.data.loading import Images
from sadajem_jax.training import experiment, recipes, runner
from sadajem_jax.training.experiment import Experiment

NUM_IMAGES, NUM_CLASSES = 10_000, 10


def build(
    depth: int,
    width: int,
    batch_size_px: int,
    batch_size_label: int,
    num_sgld_steps: int,
    dtype: str,
    image_size: int = 32,
    rho: float = 0.2,
) -> tuple[Stepper, float, Any | None]:
    """A compiled training step on random images.

    Args:
      depth: of the Wide-ResNet, 6n + 4.
      width: its widening factor.
      batch_size_px: unlabelled images a step.
      batch_size_label: labelled images a step.
      num_sgld_steps: K.
      dtype: of the convolutions, 'float32' or 'bfloat16'.
      image_size: pixels a side.
      rho: SAM's radius; 0 leaves the second pass out.

    Returns:
      step: runs one training step and returns its metrics when the work is done. Fresh rows are
        prepared for many steps together, as the trainer does: every 64th call or so takes longer.
      compile_seconds: wall-clock seconds of tracing and compiling it.
      memory_analysis: the compiled program's sizes in bytes, or None where the backend has none.
    """
    overrides = fields(
        depth, width, batch_size_px, batch_size_label, num_sgld_steps, dtype=dtype, rho=rho
    )
    run = random_experiment(overrides, image_size)
    step = Stepper(run)
    return step, step.compile_seconds, step.program.memory_analysis()


def fields(
    depth: int,
    width: int,
    batch_size_px: int,
    batch_size_label: int,
    num_sgld_steps: int,
    *,
    dtype: str,
    rho: float,
) -> dict[str, str]:
    """The settings of a step as overrides of a config."""
    given = {
        "model.depth": depth,
        "model.width": width,
        "model.dtype": dtype,
        "sgld.num_steps": num_sgld_steps,
        "sam.rho": rho,
        "train.batch_size_px": batch_size_px,
        "train.batch_size_label": batch_size_label,
        # The strata must divide the batch, which may be any here.
        "buffer.num_shards": math.gcd(8, batch_size_px),
    }
    return {name: str(value) for name, value in given.items()}


def random_experiment(overrides: dict[str, str], image_size: int) -> Experiment:
    """The CIFAR-10 config with `overrides`, on random images of `image_size` pixels a side."""
    config = config_files.load("configs/cifar10.py")
    config_files.override(config, overrides)
    shape = (NUM_IMAGES, image_size, image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = np.arange(NUM_IMAGES, dtype=np.int32) % NUM_CLASSES
    return experiment.build(recipes.of(config), Images(images, labels))


class Stepper:
    """Runs the steps of an experiment one a call, from the trainer's program compiled here.

    Args:
      run: the experiment.
    """

    def __init__(self, run: Experiment) -> None:
        self.run, self.number, self.state = run, 0, run.initial_state()
        self.feed, self.end = run.feeder.feed(0)
        self.metrics: Any = None
        is_looped = not backend.unrolls()
        # The length of a block is traced, as in training: XLA would unwrap a loop known to be one.
        self.length = (jnp.ones((), jnp.int32),) if is_looped else ()
        jitted = runner.program(run.step, is_looped=is_looped)
        start = time.perf_counter()
        self.program = jitted.lower(*self.inputs()).compile()
        self.compile_seconds = time.perf_counter() - start

    def inputs(self) -> tuple[Any, ...]:
        """The arguments of the program's next call."""
        return (self.state, self.feed, self.run.data, self.run.key, *self.length)

    def __call__(self) -> Any:
        """One step; returns its metrics when the new state is there."""
        self.block(1)
        return self.metrics

    def block(self, most: int) -> int:
        """At most so many steps, in one dispatch where they are looped; no further than the feed.

        Returns:
          how many were run, when the new state is there.
        """
        if self.number == self.end:
            self.feed, self.end = self.run.feeder.feed(self.number)
        count = min(most, self.end - self.number)
        self.length = (jnp.asarray(count, jnp.int32),) if self.length else ()
        for _ in range(1 if self.length else count):
            self.state, self.metrics = self.program(*self.inputs())
        self.number += count
        jax.block_until_ready((self.state, self.metrics))
        return count
