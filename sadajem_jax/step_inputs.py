"""What a step is given and what it draws: its constants, the data, and the batch of one update."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from sadajem_jax import augment, objective, replay_buffer, sgld
from sadajem_jax.augment import Augmentation
from sadajem_jax.further_terms import Term
from sadajem_jax.randomness import Purpose, row_keys, step_key
from sadajem_jax.row_groups import Shares
from sadajem_jax.train_state import TrainState


class StepConfig(NamedTuple):
    """The constants of a step, all static.

    Attributes:
      kernel: of the Langevin chain.
      num_steps: K.
      unroll: whether the chain is unrolled (on the CPU) or looped.
      num_shards: strata of the replay buffer.
      weights: of the objective.
      pad: pixels of reflect padding in the augmentation.
      flip: whether it mirrors.
      ema_decay: of the averaged parameters and statistics; 0 keeps none.
      micro_batches: parts that a batch is worked through in, for small cards.
      noise_std: of Gaussian noise on the labelled images.
      augment_px: what is done to the images of the p(x) stream; nothing in SADA-JEM.
      chain_batch_norm: "train", or "eval": the chain's forwards then use the running statistics.
      chain_classes: C where the p(x) term is one of p(x | y), and each chain has a class; else 0.
      further: further terms of the objective.
      shares: of every batch's rows, for norm groups and devices.
    """

    kernel: sgld.Langevin
    num_steps: int
    unroll: bool
    num_shards: int
    weights: objective.Weights
    pad: int
    flip: bool
    ema_decay: float = 0.0
    micro_batches: int = 1
    noise_std: float = 0.0
    augment_px: Augmentation = Augmentation()
    chain_batch_norm: str = "train"
    chain_classes: int = 0
    further: tuple[Term, ...] = ()
    shares: Shares = Shares()

    @property
    def augment_label(self) -> Augmentation:
        """What is done to the labelled images."""
        return Augmentation(self.pad, self.flip, self.noise_std)


class Dataset(NamedTuple):
    """The training set on the device: images [N, H, W, channels] uint8, labels [N] int32."""

    images: jax.Array
    labels: jax.Array


class Feed(NamedTuple):
    """What some consecutive steps need from outside, prepared for n of them together.

    Attributes:
      first_step: int32 scalar, the step that row 0 is for.
      px_index: [n, B] int32, images of the p(x) stream.
      label_index: [n, L] int32, images of the labelled stream.
      fresh: [M, H, W, channels] float32, fresh starts of chains.
      fresh_row: [n, B] int32, which of `fresh` replaces this row; -1: none.
    """

    first_step: jax.Array
    px_index: jax.Array
    label_index: jax.Array
    fresh: jax.Array
    fresh_row: jax.Array


class Batch(NamedTuple):
    """The inputs of one update, floats; without a p(x) term its own are None.

    Attributes:
      x_data: [B, H, W, channels], in SADA-JEM not augmented.
      x_init: [B, H, W, channels], where the chains start.
      x_label: [L, H, W, channels], augmented.
      labels: [L] int.
      noise_keys: [B] keys, one a chain.
      data_labels: [B] int, classes of x_data; None: the p(x) term asks for none.
      chain_labels: [B] int, classes that the chains are drawn for; None as well.
      further_key: of the further terms' draws, if there are any.
    """

    x_data: Any
    x_init: Any
    x_label: jax.Array
    labels: jax.Array
    noise_keys: Any
    data_labels: Any = None
    chain_labels: Any = None
    further_key: Any = None


def assemble(
    state: TrainState, feed: Feed, data: Dataset, key: jax.Array, config: StepConfig
) -> tuple[Batch, Any]:
    """Draws the inputs of step `state.step`: (batch, slots [B] of the buffer or None)."""
    at = state.step - feed.first_step
    label_index = feed.label_index[at]
    augment_keys = row_keys(step_key(key, state.step, Purpose.AUGMENT), len(label_index))
    images = data.images[label_index]
    batch = Batch(
        x_data=None,
        x_init=None,
        x_label=augment.augmented(augment_keys, images, config.augment_label),
        labels=data.labels[label_index],
        noise_keys=None,
        further_key=step_key(key, state.step, Purpose.FURTHER) if config.further else None,
    )
    if not config.weights.px:
        return batch, None
    px_index = feed.px_index[at]
    slots = replay_buffer.draw_slots(
        step_key(key, state.step, Purpose.SLOTS),
        size=state.buffer.shape[0],
        num_shards=config.num_shards,
        batch_size=len(px_index),
    )
    fresh, fresh_row, parts = feed.fresh, feed.fresh_row[at], config.shares.parts
    x_init = replay_buffer.read(state.buffer, slots, fresh, fresh_row, parts)
    step_keys = functools.partial(step_key, key, state.step)
    batch = with_px(batch, px_index, data, step_keys, config)
    return with_chains(batch, x_init, slots, step_keys, config), slots


StepKeys = Callable[[Purpose], jax.Array]


def with_px(
    batch: Batch, px_index: jax.Array, data: Dataset, step_keys: StepKeys, config: StepConfig
) -> Batch:
    """The batch with the images [B] of the p(x) stream, and their classes where they count."""
    images, how, keys = data.images[px_index], config.augment_px, None
    if how.is_random:
        keys = row_keys(step_keys(Purpose.AUGMENT_PX), len(px_index))
    labels = data.labels[px_index] if config.chain_classes else None
    return batch._replace(x_data=augment.augmented(keys, images, how), data_labels=labels)


def with_chains(
    batch: Batch, x_init: jax.Array, slots: jax.Array, step_keys: StepKeys, config: StepConfig
) -> Batch:
    """The batch with what the chains of `slots` [B] start from, and their classes."""
    keys = row_keys(step_keys(Purpose.NOISE), len(slots))
    count = config.chain_classes
    labels = replay_buffer.classes(slots, count) if count else None
    return batch._replace(x_init=x_init, noise_keys=keys, chain_labels=labels)
