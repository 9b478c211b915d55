"""From a config to a run's recipe: its objects and numbers, none of which needs an image.

The one place of a training that sees a config.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import ml_collections
import optax

from sadajem_jax import backend, objective, sgld
from sadajem_jax.augment import Augmentation
from sadajem_jax.console.words import comma_list
from sadajem_jax.data.specs import DatasetSpec, get_spec
from sadajem_jax.further_terms import TERMS
from sadajem_jax.inference import build
from sadajem_jax.row_groups import Shares
from sadajem_jax.sharpness_aware import sam
from sadajem_jax.step_inputs import StepConfig
from sadajem_jax.training import schedule
from sadajem_jax.wide_resnet import WideResNet
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.settings import Settings


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
      reinit_prob: share of rows that start anew; 0 where no chain is run.
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

    @property
    def has_chains(self) -> bool:
        """Whether training draws samples; a classifier's buffer holds the starts it began with."""
        return self.constants.weights.px > 0 and self.constants.num_steps > 0

    def total_steps(self, num_images: int) -> int:
        """Length of a run on so many training images, none of them held out."""
        return schedule.total_steps(self.settings, num_images)


def of(config: ml_collections.ConfigDict) -> Recipe:
    """The recipe of a checked config."""
    settings, train = run_settings.flat(config.to_dict()), config.train
    spec = get_spec(config.data.name)
    return Recipe(
        settings=settings,
        spec=spec,
        data_dir=config.data.data_dir or None,
        val_size=config.data.val_size,
        network=build.network(settings, spec),
        constants=step_constants(config, build.kernel(settings)),
        optimizer=transforms(config),
        buffer_size=config.buffer.size,
        reinit_prob=config.buffer.reinit_prob if config.objective.px_weight else 0.0,
        batch_size_px=train.batch_size_px,
        batch_size_label=train.batch_size_label,
        seed=config.seed,
        init_from=config.init_from,
        eval_batch_size=config.eval.batch_size,
        cadence=cadence(config),
        retrying=Retrying(train.max_restarts, train.on_divergence == "double_steps"),
    )


def cadence(config: ml_collections.ConfigDict) -> Cadence:
    """How often a run saves, logs, draws and validates."""
    return Cadence(
        save=config.checkpoint.every_steps,
        keep=config.checkpoint.keep,
        log=config.log.every_steps,
        draw=config.log.samples_every_steps,
        validate_epochs=config.eval.every_epochs,
    )


def transforms(
    config: ml_collections.ConfigDict,
) -> Callable[[optax.Schedule], optax.GradientTransformationExtraArgs]:
    """Learning rate by step -> all that becomes of a gradient, see `optimizer`."""
    return functools.partial(
        optimizer,
        rho=config.sam.rho,
        adaptive=config.sam.adaptive,
        weight_decay=config.train.weight_decay,
        descent=descent(config.train),
    )


def step_constants(config: ml_collections.ConfigDict, kernel: sgld.Langevin) -> StepConfig:
    """The static constants of a step, in the form that suits the backend."""
    weights, data = config.objective, config.data
    num_classes = get_spec(data.name).num_classes
    return StepConfig(
        kernel=kernel,
        num_steps=config.sgld.num_steps,
        unroll=backend.unrolls(),
        num_shards=config.buffer.num_shards,
        weights=objective.Weights(
            weights.px_weight,
            weights.pyx_weight,
            weights.l2_coeff,
            weights.l2_form,
            weights.further_weight,
        ),
        pad=data.pad,
        flip=data.flip,
        ema_decay=config.train.ema_decay,
        micro_batches=config.train.micro_batches,
        noise_std=data.noise_std,
        augment_px=Augmentation(data.px_pad, data.px_flip, data.px_noise_std, data.px_dequantise),
        chain_batch_norm=config.sgld.batch_norm,
        chain_classes=num_classes if weights.class_conditional else 0,
        further=tuple(TERMS[name] for name in comma_list(weights.further)),
        shares=Shares(norm_groups=config.model.norm_groups),
    )


def optimizer(
    rate: optax.Schedule,
    *,
    rho: float,
    adaptive: bool,
    weight_decay: float,
    descent: Callable[[optax.Schedule], optax.GradientTransformation],
) -> optax.GradientTransformationExtraArgs:
    """SAM first (none where rho is 0), then weight decay on the outer gradient, then the descent.

    Weight decay enters the gradient, as in PyTorch's SGD and Adam.
    """
    chain = [sam(rho, adaptive=adaptive)] if rho > 0 else []
    chain += [optax.add_decayed_weights(weight_decay), descent(rate)]
    return optax.with_extra_args_support(optax.chain(*chain))


OPTIMIZERS = ("sgd", "adam")


def descent(
    train: ml_collections.ConfigDict,
) -> Callable[[optax.Schedule], optax.GradientTransformation]:
    """SGD with momentum, or Adam, by the `train` section: learning rate by step -> transform."""
    if train.optimizer == "adam":
        return functools.partial(optax.adam, b1=train.beta1, b2=train.beta2)
    return functools.partial(optax.sgd, momentum=train.momentum)
