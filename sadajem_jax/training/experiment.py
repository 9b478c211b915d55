"""A run put together: its recipe and the training images, made into what the runner runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sadajem_jax import train_state, train_step
from sadajem_jax.console.errors import UserError
from sadajem_jax.data.loading import Images
from sadajem_jax.inference import build as described
from sadajem_jax.informative_init import Starts
from sadajem_jax.randomness import Purpose, row_keys, run_key, step_key
from sadajem_jax.step_inputs import Dataset
from sadajem_jax.train_state import TrainState
from sadajem_jax.training import schedule, sharding
from sadajem_jax.training.feed import Feeder, Stream
from sadajem_jax.training.recipes import Recipe
from sadajem_jax.training.sharding import Over
from sadajem_jax.wide_resnet import WideResNet

WINDOW = 64  # steps a feed is prepared for


class Experiment(NamedTuple):
    """What a run is made of.

    Attributes:
      model: the network.
      tx: the optimizer, SAM first.
      rate: its learning rate, step -> float.
      step: the pure training step.
      feeder: prepares batches and fresh starts.
      data: the training set on the device.
      key: of the run.
      total_steps: its length.
      initial_state: () -> the state at step 0, the buffer filled.
      over: the devices that share its batches.
    """

    model: WideResNet
    tx: optax.GradientTransformationExtraArgs
    rate: optax.Schedule
    step: train_step.Step
    feeder: Feeder
    data: Dataset
    key: jax.Array
    total_steps: int
    initial_state: Callable[[], TrainState]
    over: Over = None


def build(
    made: Recipe,
    images: Images,
    restarts: int = 0,
    num_sgld_steps: int | None = None,
    over: Over = None,
) -> Experiment:
    """Puts a run together; compiles and trains nothing.

    Args:
      made: the recipe.
      images: the training images, on the host, without those held out.
      restarts: how often the run went back after a divergence; part of every key.
      num_sgld_steps: K where it is no longer the recipe's.
      over: the devices that share its batches, see `sharding.mesh_of`.

    Raises:
      UserError: if the images are too few for the recipe.
    """
    require_enough(made, images)
    whole, total = sharding.whole_on(over), made.total_steps(len(images.labels))
    key = run_key(made.seed, restarts)
    rate = schedule.of(made.settings, total)
    tx = made.optimizer(rate)
    data = Dataset(jnp.asarray(images.images), jnp.asarray(images.labels))
    data = sharding.placed(data, whole)
    starts = described.starts(made.settings, made.spec, data.images, images.labels)
    prepares = feeder(made, key, starts, len(images.labels), over)
    key = sharding.placed(key, whole)
    constants, model = made.constants, sharding.network_on(over, made.network)
    if num_sgld_steps is not None:
        constants = constants._replace(num_steps=num_sgld_steps)
    return Experiment(
        model=model,
        tx=tx,
        rate=rate,
        step=functools.partial(train_step.train_step, model=model, tx=tx, config=constants),
        feeder=prepares,
        data=data,
        key=key,
        total_steps=total,
        initial_state=functools.partial(first_state, made, key, tx, data, starts),
        over=over,
    )


def require_mirrors(made: Recipe) -> None:
    """Refuses to mirror what is then no longer of its class.

    Raises:
      UserError: says what to give.
    """
    given = {"flip": made.constants.flip, "px_flip": made.constants.augment_px.flip}
    for field in (field for field, flips in given.items() if flips and not made.spec.mirrors):
        raise UserError(
            f"config.data.{field} must be False for {made.spec.name}, found True: mirrored, an "
            f"image is no longer of its class; add --config.data.{field}=False"
        )


def require_enough(made: Recipe, images: Images) -> None:
    """Refuses a folder of fewer images than a batch, or without a class that chains start from.

    Raises:
      UserError: names the field or the class.
    """
    there = len(images.labels)
    for field, size in (
        ("train.batch_size_px", made.batch_size_px),
        ("train.batch_size_label", made.batch_size_label),
    ):
        if size > there:
            raise UserError(
                f"config.{field} must be at most the {there:,} training images that are there, "
                f"found {size:,}; lower it, or give a folder that holds more"
            )
    counts = np.bincount(images.labels, minlength=made.spec.num_classes)
    if counts.min() == 0 and made.settings["sgld.init"] == "informative":
        raise UserError(
            f"chains start from the images of every class, and of class {counts.argmin()} there "
            f"is none; give a folder that holds some, or --config.sgld.init=uniform"
        )


def feeder(
    made: Recipe, key: jax.Array, starts: Starts, num_images: int, over: Over = None
) -> Feeder:
    """The two streams over the training set, and the fresh rows that fall due."""
    px = Stream(made.seed, 0, num_images, made.batch_size_px)
    label = Stream(made.seed, 1, num_images, made.batch_size_label)
    place = functools.partial(sharding.placed, placement=sharding.whole_on(over))
    return Feeder(px, label, key, made.reinit_prob, starts, WINDOW, place)


def first_state(
    made: Recipe,
    key: jax.Array,
    tx: optax.GradientTransformation,
    data: Dataset,
    starts: Starts,
) -> TrainState:
    """The state at step 0: PyTorch's initial weights, the buffer filled with chain starts."""
    fill_keys = row_keys(step_key(key, 0, Purpose.BUFFER_FILL), made.buffer_size)
    buffer = starts.fill(fill_keys)
    params_key = step_key(key, 0, Purpose.PARAMS)
    shape, ema = data.images.shape[1:], made.constants.ema_decay > 0
    return train_state.create(params_key, made.network, tx, shape, buffer, ema=ema)
