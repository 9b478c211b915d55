"""From a config to the objects of a run: network, optimizer, chain starts, first state, step."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from sadajem_jax import informative_init, objective, sgld, train_state, train_step
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import get_spec
from sadajem_jax.randomness import Purpose, row_keys, run_key, step_key
from sadajem_jax.sharpness_aware import sam
from sadajem_jax.train_state import TrainState
from sadajem_jax.train_step import Dataset, StepConfig
from sadajem_jax.training import schedule
from sadajem_jax.training.feed import Feeder, FreshRows, Stream
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
    """

    model: WideResNet
    tx: optax.GradientTransformationExtraArgs
    rate: optax.Schedule
    step: train_step.Step
    feeder: Feeder
    data: Dataset
    key: jax.Array
    total_steps: int
    initial_state: functools.partial[TrainState]


def build(
    config: ml_collections.ConfigDict,
    images: Images,
    restarts: int = 0,
    num_sgld_steps: int | None = None,
) -> Experiment:
    """Puts a run together; compiles and trains nothing.

    Args:
      config: checked by `config_rules.check`.
      images: the training images, on the host.
      restarts: how often the run went back after a divergence; part of every key.
      num_sgld_steps: K where it is no longer the config's.
    """
    model, key = network(config), run_key(config.seed, restarts)
    total = total_steps(config, len(images.labels))
    rate = schedule.learning_rate(config.train.schedule, config.train.learning_rate, total)
    tx = optimizer(config, rate)
    data = Dataset(jnp.asarray(images.images), jnp.asarray(images.labels))
    starts = chain_starts(config, data, images.labels)
    constants = step_config(config)
    if num_sgld_steps is not None:
        constants = constants._replace(num_steps=num_sgld_steps)
    step = functools.partial(train_step.train_step, model=model, tx=tx, config=constants)
    return Experiment(
        model=model,
        tx=tx,
        rate=rate,
        step=step,
        feeder=feeder(config, key, starts, len(images.labels)),
        data=data,
        key=key,
        total_steps=total,
        initial_state=functools.partial(first_state, config, key, model, tx, data, starts),
    )


def network(config: ml_collections.ConfigDict) -> WideResNet:
    """The network that the config names, parameters in float32."""
    spec, model = get_spec(config.data.name), config.model
    dtype = jnp.dtype(model.dtype)
    return WideResNet(model.depth, model.width, spec.num_classes, model.norm, dtype)


def optimizer(
    config: ml_collections.ConfigDict, rate: optax.Schedule
) -> optax.GradientTransformationExtraArgs:
    """SAM first (none where rho is 0), then weight decay on the outer gradient, then SGD."""
    train = config.train
    chain = [sam(config.sam.rho, adaptive=config.sam.adaptive)] if config.sam.rho > 0 else []
    chain += [
        optax.add_decayed_weights(train.weight_decay),
        optax.sgd(rate, momentum=train.momentum),
    ]
    return optax.with_extra_args_support(optax.chain(*chain))


def total_steps(config: ml_collections.ConfigDict, num_images: int) -> int:
    """Length of the run: num_steps, or num_epochs passes of the labelled stream."""
    per_epoch = num_images // config.train.batch_size_label
    return config.train.num_steps or config.train.num_epochs * per_epoch


def kernel(config: ml_collections.ConfigDict) -> sgld.Langevin:
    """The constants of the Langevin kernel, for training and for generation."""
    chain = config.sgld
    return sgld.Langevin(chain.step_size, chain.noise_std, chain.grad_clip)


def step_config(config: ml_collections.ConfigDict) -> StepConfig:
    """The static constants of a step; the chain is unrolled on the CPU, looped elsewhere."""
    weights = config.objective
    return StepConfig(
        kernel=kernel(config),
        num_steps=config.sgld.num_steps,
        unroll=jax.default_backend() == "cpu",
        num_shards=config.buffer.num_shards,
        weights=objective.Weights(weights.px_weight, weights.pyx_weight, weights.l2_coeff),
        pad=config.data.pad,
        flip=config.data.flip,
        ema_decay=config.train.ema_decay,
        micro_batches=config.train.micro_batches,
    )


class Starts(NamedTuple):
    """The initialisation of chains: `fresh` for single rows, `fill` for a whole buffer."""

    fresh: FreshRows
    fill: functools.partial[jax.Array]


def chain_starts(config: ml_collections.ConfigDict, data: Dataset, labels: np.ndarray) -> Starts:
    """The informative or the uniform initialisation, as the config says."""
    shape, num_classes = data.images.shape[1:], get_spec(config.data.name).num_classes
    if config.sgld.init == "uniform":
        draw = functools.partial(_uniform, shape)
        return Starts(draw, functools.partial(_fill_uniform, draw))
    grouped = informative_init.by_class(data.images, labels, num_classes)
    return Starts(
        functools.partial(_informative, grouped),
        functools.partial(_fill_informative, grouped),
    )


def _uniform(shape: tuple[int, ...], keys: jax.Array, count: int) -> jax.Array:
    del count  # rows beyond it are cheap, and never read
    return informative_init.uniform(keys, shape)


def _fill_uniform(draw: FreshRows, keys: jax.Array) -> jax.Array:
    return draw(keys, len(keys))


def _informative(grouped: informative_init.ClassImages, keys: jax.Array, count: int) -> jax.Array:
    """Fresh rows of classes drawn uniformly, each by its own key."""
    make, classes = _classes(keys, num_classes=len(grouped.counts))
    return informative_init.class_gaussian(make, np.asarray(classes)[:count], grouped, len(keys))


@functools.partial(jax.jit, static_argnames="num_classes")
def _classes(keys: jax.Array, *, num_classes: int) -> tuple[jax.Array, jax.Array]:
    """(keys [M] to make the rows with, classes [M])."""
    pick, make = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    return make, jax.vmap(lambda key: jax.random.randint(key, (), 0, num_classes))(pick)


def _fill_informative(grouped: informative_init.ClassImages, keys: jax.Array) -> jax.Array:
    """A buffer with the same number of images a class, the classes taking turns."""
    classes = np.arange(len(keys)) % len(grouped.counts)
    chunk = informative_init.FILL_CHUNK
    return informative_init.class_gaussian(keys, classes, grouped, len(keys), chunk)


def feeder(
    config: ml_collections.ConfigDict, key: jax.Array, starts: Starts, num_images: int
) -> Feeder:
    """The two streams over the training set, and the fresh rows that fall due."""
    train = config.train
    px = Stream(config.seed, 0, num_images, train.batch_size_px)
    label = Stream(config.seed, 1, num_images, train.batch_size_label)
    return Feeder(px, label, key, config.buffer.reinit_prob, starts.fresh, WINDOW)


def first_state(
    config: ml_collections.ConfigDict,
    key: jax.Array,
    model: WideResNet,
    tx: optax.GradientTransformation,
    data: Dataset,
    starts: Starts,
) -> TrainState:
    """The state at step 0: PyTorch's initial weights, the buffer filled with chain starts."""
    fill_keys = row_keys(step_key(key, 0, Purpose.BUFFER_FILL), config.buffer.size)
    buffer = starts.fill(fill_keys)
    params_key = step_key(key, 0, Purpose.PARAMS)
    shape, ema = data.images.shape[1:], config.train.ema_decay > 0
    return train_state.create(params_key, model, tx, shape, buffer, ema=ema)
