"""From a config to the objects of a run: its recipe, and with images the experiment itself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from sadajem_jax import backend, objective, sgld, train_state, train_step
from sadajem_jax.console.errors import UserError
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import DatasetSpec, get_spec
from sadajem_jax.inference import build as described
from sadajem_jax.informative_init import Starts
from sadajem_jax.randomness import Purpose, row_keys, run_key, step_key
from sadajem_jax.sharpness_aware import sam
from sadajem_jax.train_state import TrainState
from sadajem_jax.train_step import Dataset, StepConfig
from sadajem_jax.training import schedule
from sadajem_jax.training.feed import Feeder, Stream
from sadajem_jax.wide_resnet import WideResNet
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.settings import Settings

WINDOW = 64  # steps a feed is prepared for


class Cadence(NamedTuple):
    """How often a run does what, in steps unless said otherwise; the result does not depend on it.

    Attributes:
      save: a checkpoint.
      keep: checkpoints kept.
      log: steps averaged in a line.
      draw: a grid of the buffer.
      validate_epochs: epochs from one evaluation to the next; 0 for none.
    """

    save: int
    keep: int
    log: int
    draw: int
    validate_epochs: int


class Retrying(NamedTuple):
    """What follows on a divergence: how often the run may go back, and whether K then doubles."""

    max_restarts: int
    double_steps: bool


class Recipe(NamedTuple):
    """All that a config says of a run, as objects and numbers; it needs no image.

    Attributes:
      settings: every field, for W/config.json and to know the run again.
      spec: of the data set.
      data_dir: the folder of prepared sets, or None.
      val_size: training images held out.
      network: parameters in float32.
      constants: of a step.
      optimizer: learning rate by step -> transform, SAM first.
      buffer_size: N slots.
      reinit_prob: share of rows that start anew.
      batch_size_px, batch_size_label: of the two streams.
      seed: of every draw.
      init_from: a workdir whose last model to start from, or "".
      eval_batch_size: images a device takes at a time in evaluation.
      cadence: how often what.
      retrying: after a divergence.
    """

    settings: Settings
    spec: DatasetSpec
    data_dir: str | None
    val_size: int
    network: WideResNet
    constants: StepConfig
    optimizer: Callable[[optax.Schedule], optax.GradientTransformationExtraArgs]
    buffer_size: int
    reinit_prob: float
    batch_size_px: int
    batch_size_label: int
    seed: int
    init_from: str
    eval_batch_size: int
    cadence: Cadence
    retrying: Retrying

    def total_steps(self, num_images: int) -> int:
        """Length of a run on so many training images, none of them held out."""
        return schedule.total_steps(self.settings, num_images)


def recipe(config: ml_collections.ConfigDict) -> Recipe:
    """The recipe of a checked config."""
    settings, train = run_settings.flat(config.to_dict()), config.train
    spec = get_spec(config.data.name)
    validate = config.eval.every_epochs
    log, checkpoint = config.log, config.checkpoint
    return Recipe(
        settings=settings,
        spec=spec,
        data_dir=config.data.data_dir or None,
        val_size=config.data.val_size,
        network=described.network(settings, spec),
        constants=step_constants(config, described.kernel(settings)),
        optimizer=functools.partial(
            optimizer,
            rho=config.sam.rho,
            adaptive=config.sam.adaptive,
            momentum=train.momentum,
            weight_decay=train.weight_decay,
        ),
        buffer_size=config.buffer.size,
        reinit_prob=config.buffer.reinit_prob,
        batch_size_px=train.batch_size_px,
        batch_size_label=train.batch_size_label,
        seed=config.seed,
        init_from=config.init_from,
        eval_batch_size=config.eval.batch_size,
        cadence=Cadence(
            checkpoint.every_steps,
            checkpoint.keep,
            log.every_steps,
            log.samples_every_steps,
            validate,
        ),
        retrying=Retrying(train.max_restarts, train.on_divergence == "double_steps"),
    )


def step_constants(config: ml_collections.ConfigDict, kernel: sgld.Langevin) -> StepConfig:
    """The static constants of a step, in the form that suits the backend."""
    weights = config.objective
    return StepConfig(
        kernel=kernel,
        num_steps=config.sgld.num_steps,
        unroll=backend.unrolls(),
        num_shards=config.buffer.num_shards,
        weights=objective.Weights(weights.px_weight, weights.pyx_weight, weights.l2_coeff),
        pad=config.data.pad,
        flip=config.data.flip,
        ema_decay=config.train.ema_decay,
        micro_batches=config.train.micro_batches,
    )


def optimizer(
    rate: optax.Schedule, *, rho: float, adaptive: bool, momentum: float, weight_decay: float
) -> optax.GradientTransformationExtraArgs:
    """SAM first (none where rho is 0), then weight decay on the outer gradient, then SGD."""
    chain = [sam(rho, adaptive=adaptive)] if rho > 0 else []
    chain += [optax.add_decayed_weights(weight_decay), optax.sgd(rate, momentum=momentum)]
    return optax.with_extra_args_support(optax.chain(*chain))


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


def build(
    made: Recipe, images: Images, restarts: int = 0, num_sgld_steps: int | None = None
) -> Experiment:
    """Puts a run together; compiles and trains nothing.

    Args:
      made: the recipe.
      images: the training images, on the host, without those held out.
      restarts: how often the run went back after a divergence; part of every key.
      num_sgld_steps: K where it is no longer the recipe's.

    Raises:
      UserError: if the images are too few for the recipe.
    """
    require_enough(made, images)
    key, total = run_key(made.seed, restarts), made.total_steps(len(images.labels))
    rate = schedule.learning_rate(
        made.settings["train.schedule"], made.settings["train.learning_rate"], total
    )
    tx = made.optimizer(rate)
    data = Dataset(jnp.asarray(images.images), jnp.asarray(images.labels))
    starts = described.starts(made.settings, made.spec, data.images, images.labels)
    constants = made.constants
    if num_sgld_steps is not None:
        constants = constants._replace(num_steps=num_sgld_steps)
    return Experiment(
        model=made.network,
        tx=tx,
        rate=rate,
        step=functools.partial(train_step.train_step, model=made.network, tx=tx, config=constants),
        feeder=feeder(made, key, starts, len(images.labels)),
        data=data,
        key=key,
        total_steps=total,
        initial_state=functools.partial(first_state, made, key, tx, data, starts),
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


def feeder(made: Recipe, key: jax.Array, starts: Starts, num_images: int) -> Feeder:
    """The two streams over the training set, and the fresh rows that fall due."""
    px = Stream(made.seed, 0, num_images, made.batch_size_px)
    label = Stream(made.seed, 1, num_images, made.batch_size_label)
    return Feeder(px, label, key, made.reinit_prob, starts.fresh, WINDOW)


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
