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
from sadajem_jax.augment import Augmentation
from sadajem_jax.batch_norm import fold_statistics, forward, frozen_forward
from sadajem_jax.further_terms import Drawn, Term
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
    if slots is None:
        return state, metrics
    return state.replace(buffer=replay_buffer.write(state.buffer, slots, x_neg)), metrics


def update(
    state: TrainState,
    batch: Batch,
    *,
    model: nn.Module,
    tx: optax.GradientTransformationExtraArgs,
    config: StepConfig,
) -> tuple[TrainState, Any, Metrics]:
    """One update of parameters, statistics and optimizer; the buffer is left to `train_step`.

    Both passes see the same negative samples; the second moves no running statistics.

    Returns:
      (state, x_neg [B, H, W, channels] or None without a p(x) term, metrics: name -> scalar).
    """
    x_neg, info = negative_samples(model, state.variables, batch, config)
    drawn = further_images(model, state.variables, batch, config)
    first = first_pass(model, state, batch, x_neg, config, drawn)
    data, negatives, labelled, further = first.moments
    batch_stats = fold_statistics(state.batch_stats, data, info.aux, negatives, labelled, further)
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
      noise_std: of Gaussian noise on the labelled images.
      augment_px: what is done to the images of the p(x) stream; nothing in SADA-JEM.
      chain_batch_norm: "train", or "eval": the chain's forwards then use the running statistics.
      chain_classes: C where the p(x) term is one of p(x | y), and each chain has a class; else 0.
      further: further terms of the objective.
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
    x_init = replay_buffer.read(state.buffer, slots, feed.fresh, feed.fresh_row[at])
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


NO_CHAIN = sgld.SgldInfo(log_density=(), score_norm=(), aux={})


def negative_samples(
    model: nn.Module, variables: Any, batch: Batch, config: StepConfig
) -> tuple[Any, sgld.SgldInfo]:
    """Runs the chains, the network in training mode unless the config says otherwise.

    Returns:
      (x_neg [B, H, W, channels], info; its aux holds the moments of every forward, [K, ...]).
      Without a p(x) term there are none: (None, NO_CHAIN).
    """
    if batch.x_init is None:
        return None, NO_CHAIN
    run = forward if config.chain_batch_norm == "train" else frozen_forward

    def chain(part: tuple[Any, jax.Array, Any]) -> tuple[jax.Array, sgld.SgldInfo]:
        keys, x, labels = part

        def log_density(x: jax.Array) -> tuple[jax.Array, Any]:
            logits, moments = run(model, variables, x)
            return energy.log_density_of(logits, labels), moments

        steps, unroll = config.num_steps, config.unroll
        return sgld.sample(keys, x, log_density, config.kernel, num_steps=steps, unroll=unroll)

    start = (batch.noise_keys, batch.x_init, batch.chain_labels)
    x_neg, info = chain(start) if config.micro_batches == 1 else _in_parts(chain, start, config)
    return jax.lax.stop_gradient(x_neg), info


def further_images(
    model: nn.Module, variables: Any, batch: Batch, config: StepConfig
) -> tuple[Drawn, ...]:
    """The images of each further term; nothing flows back through them."""

    def network(x: jax.Array) -> jax.Array:
        return forward(model, variables, x)[0]

    def draw(number: int, term: Term) -> Drawn:
        key = jax.random.fold_in(batch.further_key, number)
        return jax.lax.stop_gradient(term.draw(key, network, batch))

    return tuple(draw(number, term) for number, term in enumerate(config.further))


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
      moments: of each of the forwards.
    """

    gradient: Callable[[Any], Any]
    grads: Any
    loss: jax.Array
    terms: objective.Terms
    moments: Passes


def first_pass(
    model: nn.Module,
    state: TrainState,
    batch: Batch,
    x_neg: Any,
    config: StepConfig,
    drawn: tuple[Drawn, ...] = (),
) -> FirstPass:
    """The objective on the batch and its negative samples, at the state's parameters."""

    def loss(params: Any, part: tuple[Passes, Passes]) -> tuple[jax.Array, Any]:
        images, labels = part
        variables = {"params": params, "batch_stats": state.batch_stats}
        outputs = [forward(model, variables, x) for x in jax.tree.leaves(images)]
        shape = jax.tree.structure(images)  # of those that there are
        logits, moments = (jax.tree.unflatten(shape, each) for each in zip(*outputs, strict=True))
        value, terms = objective.joint_loss(logits, labels, config.weights, config.further)
        return value, (value, terms, moments)

    images, classes = zip(*drawn, strict=True) if drawn else ((), ())
    inputs = (
        Passes(batch.x_data, x_neg, batch.x_label, images),
        Passes(batch.data_labels, batch.chain_labels, batch.labels, classes),
    )

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
    metrics: Metrics = {"loss": first.loss, **terms.metrics()}
    if terms.log_density_data is not None and terms.log_density_samples is not None:
        metrics["log_density_gap"] = terms.log_density_data - terms.log_density_samples
    metrics["grad_norm"] = optax.tree.norm(first.grads)
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
