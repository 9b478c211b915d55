"""`--mode=plan`: what a run will take, before it is begun."""

from __future__ import annotations

import math
import time

import jax
import numpy as np

from sadajem_jax import backend
from sadajem_jax.console.lines import wrapped
from sadajem_jax.console.progress import Progress
from sadajem_jax.console.words import duration
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import DatasetSpec
from sadajem_jax.training import experiment, memory, sharding
from sadajem_jax.training.outlook import ADVICE, DAY, forwards, step_tflop
from sadajem_jax.training.recipes import Recipe
from sadajem_jax.training.runner import Runner

SCALED_TFLOP = 0.2  # a larger step takes a CPU long: a smaller one is timed in its place


def plan(recipe: Recipe) -> None:
    """Prints parameters, operations, memory and time of a run; trains nothing.

    Args:
      recipe: of the run.
    """
    experiment.require_mirrors(recipe)
    recipe = sharding.shared(recipe, jax.local_device_count())
    steps = say_run(recipe)
    needs, limit = memory.estimate(recipe), memory.device_memory()
    fits = "fits" if needs.total <= limit else "does not fit"
    device, devices = jax.devices()[0], jax.local_device_count()
    whose = "this machine" if device.platform == "cpu" else device.device_kind
    if devices > 1:
        print(f"devices: {devices}, each with its part of the batches and the buffer")
    print(
        f"memory: about {memory.gib(needs.total)}, of which {memory.gib(needs.passes)} for the "
        f"passes; {fits} the {memory.gib(limit)} of {whose}",
        flush=True,
    )
    if memory.fits(needs, limit):
        with Progress("compiling and timing a step", unit=""):
            seconds, how = measure(recipe)
        print(f"time: {seconds:.3g} s a step ({how}), {duration(seconds * steps)} to the end")
        if backend.on_cpu() and seconds * steps > DAY:
            print(wrapped(f"  {ADVICE}"))


def say_run(recipe: Recipe) -> int:
    """Prints what a run is, wherever it runs; returns its steps."""
    steps, network = recipe.total_steps(recipe.spec.num_train - recipe.val_size), recipe.network
    print(f"network: WRN-{network.depth}-{network.width}, {memory.parameters(recipe):,} parameters")
    print(f"step: {step_tflop(recipe):.4g} TFLOP in {forwards(recipe):,} forwards of one image")
    print(f"length: {steps:,} steps", flush=True)
    return steps


def measure(recipe: Recipe) -> tuple[float, str]:
    """(seconds a step, how it was found), on random images.

    On the CPU, where a large step takes minutes, a smaller one is timed and scaled by its
    operations: K = 1 and batches of one image a stratum, or a norm group.
    """
    small, how = recipe, "measured"
    if backend.on_cpu() and step_tflop(recipe) > SCALED_TFLOP:
        groups = math.lcm(recipe.constants.num_shards, recipe.constants.shares.norm_groups)
        px = groups * recipe.constants.micro_batches
        constants = recipe.constants._replace(num_steps=1)
        small = recipe._replace(constants=constants, batch_size_px=px, batch_size_label=2 * px)
        how = f"scaled from a step with K = 1 and batches of {px} and {2 * px}"
    batch = max(small.batch_size_px, small.batch_size_label)
    images, over = random_images(recipe.spec, batch), sharding.mesh_of(small)
    run = experiment.build(small, images, over=over)
    return _seconds_per_step(run) * forwards(recipe) / forwards(small), how


def _seconds_per_step(run: experiment.Experiment) -> float:
    runner, state = Runner(run), run.initial_state()
    block = runner.run(state, 0, 1)  # compiles
    seconds: list[float] = []
    step = 1
    start = time.perf_counter()
    while len(seconds) < 3 and time.perf_counter() - start < 30:
        block = runner.run(block.state, step, step + 1)
        step += 1
        seconds.append(block.seconds)
    return float(np.median(seconds))


def random_images(spec: DatasetSpec, at_least: int) -> Images:
    """Noise in the shape of a data set, some images a class."""
    count, rng = max(20 * spec.num_classes, at_least), np.random.default_rng(0)
    labels = np.arange(count, dtype=np.int32) % spec.num_classes
    return Images(rng.integers(0, 256, (count, *spec.image_shape), np.uint8), labels)
