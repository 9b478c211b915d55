"""`--mode=plan`: what a run will take, before it is begun."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from sadajem_jax.cli import flops
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import duration
from sadajem_jax.data import loading
from sadajem_jax.data.specs import get_spec
from sadajem_jax.training import experiment, init_from
from sadajem_jax.training.runner import Runner
from sadajem_jax.workdir import folder as workdirs

# Bytes that a pass keeps, over the bytes of the convolutions' outputs. XLA's own analysis of the
# compiled CPU step gave 2.5 to 2.8 for WRN-10-1, 10-4 and 16-4 at several batches.
KEPT = 2.7
SCALED_TFLOP = 0.2  # a larger step takes a CPU long: a smaller one is timed in its place
REFUSE = 0.8  # a run is refused only where even this share of the estimate does not fit


class Memory(NamedTuple):
    """Estimated bytes of a step.

    Attributes:
      fixed: parameters, gradients, momentum, perturbed parameters; buffer; data set.
      passes: what the largest pass keeps for its gradient.
    """

    fixed: int
    passes: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.fixed + self.passes


def plan(config: ml_collections.ConfigDict) -> None:
    """Prints parameters, operations, memory and time of a run; trains nothing.

    Args:
      config: checked.
    """
    steps, memory, limit = workdirs.expected_steps(config), estimate(config), device_memory()
    fits = "fits" if memory.total <= limit else "does not fit"
    device = jax.devices()[0]
    print(
        f"network: WRN-{config.model.depth}-{config.model.width}, {parameters(config):,} parameters"
    )
    print(f"step: {step_tflop(config):.4g} TFLOP in {forwards(config):,} forwards of one image")
    print(
        f"memory: about {_gib(memory.total)}, of which {_gib(memory.passes)} for the passes; "
        f"{fits} the {_gib(limit)} of {device.device_kind} ({device.platform})"
    )
    print(f"length: {steps:,} steps", flush=True)
    if memory.total * REFUSE <= limit:
        seconds, how = measure(config)
        print(f"time: {seconds:.3g} s a step ({how}), {duration(seconds * steps)} to the end")


def check_memory(config: ml_collections.ConfigDict) -> None:
    """Refuses a run whose memory cannot fit, before anything is compiled.

    Raises:
      UserError: with the largest batches that would.
    """
    memory, limit = estimate(config), device_memory()
    if memory.total * REFUSE <= limit:
        return
    px, label = largest_batches(config, limit)
    advice = (
        f"the largest batches that would: config.train.batch_size_px={px} and "
        f"config.train.batch_size_label={label}; or set config.train.micro_batches"
        if px
        else "even the smallest batch does not: take a smaller network"
    )
    raise UserError(
        f"a step needs about {_gib(memory.total)} and the device has {_gib(limit)}: {advice}"
    )


def largest_batches(config: ml_collections.ConfigDict, limit: int) -> tuple[int, int]:
    """(batch_size_px, batch_size_label) in the config's ratio that fit; (0, 0) if none do."""
    train, shards = config.train, config.buffer.num_shards
    memory = estimate(config)
    share = (limit / REFUSE - memory.fixed) / memory.passes
    px = int(train.batch_size_px * max(share, 0)) // shards * shards
    return px, px * train.batch_size_label // train.batch_size_px


def parameters(config: ml_collections.ConfigDict) -> int:
    """Number of parameters, without the running statistics."""
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(init_from.blueprint(config).params))


def estimate(config: ml_collections.ConfigDict) -> Memory:
    """Bytes of a step, from the shapes alone."""
    train, spec = config.train, get_spec(config.data.name)
    pixels = spec.image_size**2 * spec.channels
    copies = 4 if config.sam.rho > 0 else 3
    copies += 1 if train.ema_decay > 0 else 0
    fixed = 4 * copies * parameters(config) + 4 * config.buffer.size * pixels
    fixed += (spec.num_train - config.data.val_size) * pixels
    images = (2 * train.batch_size_px + train.batch_size_label) // train.micro_batches
    itemsize = 2 if config.model.dtype == "bfloat16" else 4
    outputs = convolution_outputs(config.model.depth, config.model.width, spec.image_size)
    return Memory(fixed, int(KEPT * outputs * itemsize * images))


def convolution_outputs(depth: int, width: int, image_size: int) -> int:
    """Elements of all the convolutions' outputs for one image."""
    blocks, size, channels = (depth - 4) // 6, image_size, 16
    total = channels * size**2
    for stage in range(4 if image_size == 64 else 3):
        out = (16 << stage) * width
        for block in range(blocks):
            after = (size + 1) // 2 if stage > 0 and block == 0 else size
            shortcut = out * after**2 if after != size or out != channels else 0
            total += out * size**2 + out * after**2 + shortcut
            size, channels = after, out
    return total


def forwards(config: ml_collections.ConfigDict) -> int:
    """Forward-equivalents of one step, in images."""
    t = config.train
    return flops.forward_equivalents(
        t.batch_size_px, t.batch_size_label, config.sgld.num_steps, config.sam.rho
    )


def step_tflop(config: ml_collections.ConfigDict) -> float:
    """Operations of one step, in TFLOP."""
    spec, model = get_spec(config.data.name), config.model
    forward = flops.forward_flop(
        model.depth, model.width, spec.num_classes, spec.image_size, spec.channels
    )
    return forwards(config) * forward / 1e12


def device_memory() -> int:
    """Bytes of the first device; on the CPU of the machine."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def measure(config: ml_collections.ConfigDict) -> tuple[float, str]:
    """(seconds a step, how it was found), on random images.

    On the CPU, where a large step takes minutes, a smaller one is timed and scaled by its
    operations: K = 1 and batches of one image a stratum.
    """
    small = ml_collections.ConfigDict(config.to_dict())
    how = "measured"
    if jax.default_backend() == "cpu" and step_tflop(config) > SCALED_TFLOP:
        px = config.buffer.num_shards * config.train.micro_batches
        small.sgld.num_steps, small.train.batch_size_px, small.train.batch_size_label = (
            1,
            px,
            2 * px,
        )
        how = f"scaled from a step with K = 1 and batches of {px} and {2 * px}"
    run = experiment.build(small, _random_images(config))
    return _seconds_per_step(run) * forwards(config) / forwards(small), how


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


def _random_images(config: ml_collections.ConfigDict) -> loading.Images:
    spec, rng = get_spec(config.data.name), np.random.default_rng(0)
    count = max(20 * spec.num_classes, config.train.batch_size_px, config.train.batch_size_label)
    shape = (count, spec.image_size, spec.image_size, spec.channels)
    labels = np.arange(count, dtype=np.int32) % spec.num_classes
    return loading.Images(rng.integers(0, 256, shape, np.uint8), labels)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
