"""One training step of SADA-JEM (Algorithm 1 with Eq. 7 and 11), from its whole to its parts.

The order is the released program's; where we differ a comment says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from sadajem_jax import augment, energy, micro_batches, objective, replay_buffer, sgld
from sadajem_jax.batch_norm import fold_statistics, forward
from sadajem_jax.objective import Passes
from sadajem_jax.randomness import Purpose, row_keys, step_key
from sadajem_jax.train_state import TrainState

Metrics = dict[str, jax.Array]


def train_step(
    state: TrainState,
    feed: Feed,
    data: Dataset,
    key: jax.Array,
    *,
    model: nn.Module,
    tx: optax.GradientTransformationExtraArgs,
    config: StepConfig,
) -> tuple[TrainState, Metrics]:
    """Draws, samples, updates, and puts the negative samples back to their slots."""
    batch, slots = assemble(state, feed, data, key, config)
    state, x_neg, metrics = update(state, batch, model=model, tx=tx, config=config)
    return state.replace(buffer=replay_buffer.write(state.buffer, slots, x_neg)), metrics


def update(
    state: TrainState,
    batch: Batch,
    *,
    model: nn.Module,
    tx: optax.GradientTransformationExtraArgs,
    config: StepConfig,
) -> tuple[TrainState, jax.Array, Metrics]:
    """One update of parameters, statistics and optimizer; the buffer is left to `train_step`.

    Both passes see the same negative samples; the second moves no running statistics.

    Returns:
      (state, x_neg [B, H, W, channels], metrics: name -> scalar).
    """
    x_neg, info = negative_samples(model, state.variables, batch, config)
    first = first_pass(model, state, batch, x_neg, config)
    data, negatives, labelled = first.moments
    batch_stats = fold_statistics(state.batch_stats, data, info.aux, negatives, labelled)
    grads, gradient = first.grads, first.gradient
    updates, opt_state = tx.update(grads, state.opt_state, state.params, grad_fn=gradient)
    params = optax.apply_updates(state.params, updates)
    state = state.replace(
        step=state.step + 1,
        params=params,
        batch_stats=batch_stats,
        opt_state=opt_state,
        ema=averaged(state.ema, params, batch_stats, config.ema_decay),
    )
    return state, x_neg, measured(first, info, params)


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
    """The inputs of one update, floats in [-1, 1].

    Attributes:
      x_data: [B, H, W, channels], not augmented.
      x_init: [B, H, W, channels], where the chains start.
      x_label: [L, H, W, channels], augmented.
      labels: [L] int.
      noise_keys: [B] keys, one a chain.
    """

    x_data: jax.Array
    x_init: jax.Array
    x_label: jax.Array
    labels: jax.Array
    noise_keys: jax.Array


def assemble(
    state: TrainState, feed: Feed, data: Dataset, key: jax.Array, config: StepConfig
) -> tuple[Batch, jax.Array]:
    """Draws the inputs of step `state.step`: (batch, slots [B] of the buffer)."""
    at = state.step - feed.first_step
    px_index, label_index = feed.px_index[at], feed.label_index[at]
    slots = replay_buffer.draw_slots(
        step_key(key, state.step, Purpose.SLOTS),
        size=state.buffer.shape[0],
        num_shards=config.num_shards,
        batch_size=len(px_index),
    )
    augment_keys = row_keys(step_key(key, state.step, Purpose.AUGMENT), len(label_index))
    labelled = data.images[label_index]
    labelled = augment.random_crop_flip(augment_keys, labelled, pad=config.pad, flip=config.flip)
    batch = Batch(
        x_data=augment.to_float(data.images[px_index]),
        x_init=replay_buffer.read(state.buffer, slots, feed.fresh, feed.fresh_row[at]),
        x_label=augment.to_float(labelled),
        labels=data.labels[label_index],
        noise_keys=row_keys(step_key(key, state.step, Purpose.NOISE), len(px_index)),
    )
    return batch, slots


def negative_samples(
    model: nn.Module, variables: Any, batch: Batch, config: StepConfig
) -> tuple[jax.Array, sgld.SgldInfo]:
    """Runs the chains, the network in training mode.

    Returns:
      (x_neg [B, H, W, channels], info; its aux holds the moments of every forward, [K, ...]).
    """

    def log_density(x: jax.Array) -> tuple[jax.Array, Any]:
        logits, moments = forward(model, variables, x)
        return energy.log_density(logits), moments

    def chain(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, sgld.SgldInfo]:
        keys, x = part
        steps, unroll = config.num_steps, config.unroll
        return sgld.sample(keys, x, log_density, config.kernel, num_steps=steps, unroll=unroll)

    start = (batch.noise_keys, batch.x_init)
    x_neg, info = chain(start) if config.micro_batches == 1 else _in_parts(chain, start, config)
    return jax.lax.stop_gradient(x_neg), info


def _in_parts(
    chain: Callable[[Any], tuple[jax.Array, sgld.SgldInfo]], start: Any, config: StepConfig
) -> tuple[jax.Array, sgld.SgldInfo]:
    """The chain of each part of the batch: rows back in their order, moments averaged."""
    parts = micro_batches.split(start, config.micro_batches)
    x_neg, info = micro_batches.map_parts(chain, parts, unroll=config.unroll)
    return micro_batches.join(x_neg), sgld.SgldInfo(
        log_density=micro_batches.join(info.log_density, axis=1),
        score_norm=micro_batches.join(info.score_norm, axis=1),
        aux=jax.tree.map(lambda x: jnp.mean(x, axis=0), info.aux),
    )


class FirstPass(NamedTuple):
    """The loss and its gradient at the state's parameters.

    Attributes:
      gradient: params -> gradient of the same loss there; the second pass is a call of it.
      grads: gradient at the state's parameters.
      loss: scalar.
      terms: its parts.
      moments: of each of the three forwards.
    """

    gradient: Callable[[Any], Any]
    grads: Any
    loss: jax.Array
    terms: objective.Terms
    moments: Passes


def first_pass(
    model: nn.Module, state: TrainState, batch: Batch, x_neg: jax.Array, config: StepConfig
) -> FirstPass:
    """The objective on the batch and its negative samples, at the state's parameters."""

    def loss(params: Any, part: tuple[Passes, jax.Array]) -> tuple[jax.Array, Any]:
        images, labels = part
        variables = {"params": params, "batch_stats": state.batch_stats}
        outputs = [forward(model, variables, x) for x in images]
        logits, moments = (Passes(*each) for each in zip(*outputs, strict=True))
        value, terms = objective.joint_loss(logits, labels, config.weights)
        return value, (value, terms, moments)

    inputs = (Passes(batch.x_data, x_neg, batch.x_label), batch.labels)

    def gradient_and_aux(params: Any) -> tuple[Any, Any]:
        one = functools.partial(jax.grad(loss, has_aux=True), params)
        if config.micro_batches == 1:
            return one(inputs)
        parts = micro_batches.split(inputs, config.micro_batches)
        return micro_batches.mean_over_parts(one, parts, unroll=config.unroll)

    grads, (value, terms, moments) = gradient_and_aux(state.params)
    return FirstPass(lambda params: gradient_and_aux(params)[0], grads, value, terms, moments)


def averaged(ema: Any, params: Any, batch_stats: Any, decay: float) -> Any:
    """Decay ema + (1 - decay) new, of parameters and statistics alike; an empty tree stays so."""
    if not ema:
        return ema
    new = {"params": params, "batch_stats": batch_stats}
    return jax.tree.map(lambda old, x: decay * old + (1 - decay) * x, ema, new)


def measured(first: FirstPass, info: sgld.SgldInfo, params: Any) -> Metrics:
    """The metrics of a step, each a scalar; every term of the objective is one under its name."""
    terms = first.terms
    metrics: Metrics = {
        "loss": first.loss,
        **terms._asdict(),
        "log_density_gap": terms.log_density_data - terms.log_density_samples,
        "grad_norm": optax.tree.norm(first.grads),
    }
    if len(info.log_density):
        metrics["log_density_start"] = jnp.mean(info.log_density[0])
        metrics["score_norm"] = jnp.mean(info.score_norm)
    metrics["param_norm"] = optax.tree.norm(params)
    return metrics


Step = Callable[[TrainState, Feed, Dataset, jax.Array], tuple[TrainState, Metrics]]


def looped(step: Step) -> Callable[..., tuple[TrainState, Metrics]]:
    """Blocks of steps in one program, for a GPU: the host then only logs and saves.

    Args:
      step: (state, feed, data, key) -> (state, metrics).

    Returns:
      (state, feed, data, key, num_steps) -> (state, metrics [n] each, of which the first
      `num_steps` are set); `num_steps` is traced, so that blocks of any length up to the feed's n
      are one compiled program.
    """

    def block(
        state: TrainState, feed: Feed, data: Dataset, key: jax.Array, num_steps: jax.Array
    ) -> tuple[TrainState, Metrics]:
        _, shapes = jax.eval_shape(step, state, feed, data, key)
        size = feed.px_index.shape[0]
        history = {name: jnp.zeros((size, *s.shape), s.dtype) for name, s in shapes.items()}

        def body(i: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, history = carry
            state, metrics = step(state, feed, data, key)
            return state, {name: history[name].at[i].set(metrics[name]) for name in history}

        return jax.lax.fori_loop(0, num_steps, body, (state, history))

    return block
