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

from sadajem_jax import energy, forwards, micro_batches, objective, replay_buffer, sgld
from sadajem_jax.batch_norm import fold_statistics, frozen_forward
from sadajem_jax.compute_dtype import cast_once
from sadajem_jax.further_terms import Drawn, Term
from sadajem_jax.objective import Passes
from sadajem_jax.sharpness_aware import tree_norm
from sadajem_jax.step_inputs import Batch, Dataset, Feed, StepConfig, assemble
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
    buffer = replay_buffer.write(state.buffer, slots, x_neg, config.shares.parts)
    return state.replace(buffer=buffer), metrics


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
    batch_stats = fold_statistics(
        state.batch_stats, forwards.in_released_order(first.moments, info.aux)
    )
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


NO_CHAIN = sgld.SgldInfo(log_density=(), score_norm=(), aux=None)


def negative_samples(
    model: nn.Module, variables: Any, batch: Batch, config: StepConfig
) -> tuple[Any, sgld.SgldInfo]:
    """Runs the chains, the network in training mode unless the config says otherwise.

    Returns:
      (x_neg [B, H, W, channels], info; its aux holds the moments of every forward, [K, 1, M]).
      Without a p(x) term there are none: (None, NO_CHAIN).
    """
    if batch.x_init is None:
        return None, NO_CHAIN
    of_groups = functools.partial(forwards.of_groups, shares=config.shares)
    run = of_groups if config.chain_batch_norm == "train" else frozen_forward
    variables = cast_once(model, variables)

    def chain(part: tuple[Any, jax.Array, Any]) -> tuple[jax.Array, sgld.SgldInfo]:
        keys, x, labels = part

        def log_density(x: jax.Array) -> tuple[jax.Array, Any]:
            logits, moments = run(model, variables, x)
            return energy.log_density_of(logits, labels), moments

        steps, unroll = config.num_steps, config.unroll
        return sgld.sample(keys, x, log_density, config.kernel, num_steps=steps, unroll=unroll)

    start = (batch.noise_keys, batch.x_init, batch.chain_labels)
    x_neg, info = chain(start) if config.micro_batches == 1 else _in_parts(chain, start, config)
    info = info._replace(aux=forwards.mean_of_groups(info.aux))
    return jax.lax.stop_gradient(x_neg), info


def further_images(
    model: nn.Module, variables: Any, batch: Batch, config: StepConfig
) -> tuple[Drawn, ...]:
    """The images of each further term; nothing flows back through them.

    Raises:
      ValueError: if there are not as many labels, or they cannot be cut into the parts of a batch.
    """

    def network(x: jax.Array) -> jax.Array:
        return forwards.of_groups(model, variables, x, config.shares)[0]

    def draw(number: int, term: Term) -> Drawn:
        key = jax.random.fold_in(batch.further_key, number)
        drawn = jax.lax.stop_gradient(term.draw(key, network, batch))
        images, labels, parts = len(drawn.images), len(drawn.labels), config.micro_batches
        if images % parts or labels != images:
            raise ValueError(
                f"the further term {term.name!r} drew {images} images and {labels} labels: "
                f"expected as many of each, a multiple of train.micro_batches ({parts})"
            )
        return drawn

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
      moments: [n, M] of its batches, see `forwards.of_pass`.
    """

    gradient: Callable[[Any], Any]
    grads: Any
    loss: jax.Array
    terms: objective.Terms
    moments: jax.Array


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
        together = not config.unroll
        logits, moments = forwards.of_pass(
            model, variables, images, together=together, shares=config.shares
        )
        value, terms = objective.joint_loss(logits, labels, config.weights, config.further)
        return value, (value, terms, moments)

    images, classes = zip(*drawn, strict=True) if drawn else ((), ())
    inputs = (
        Passes(batch.x_data, x_neg, images, batch.x_label),
        Passes(batch.data_labels, batch.chain_labels, classes, batch.labels),
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
    metrics["grad_norm"] = tree_norm(first.grads)
    if len(info.log_density):
        metrics["log_density_start"] = jnp.mean(info.log_density[0])
        metrics["score_norm"] = jnp.mean(info.score_norm)
    metrics["param_norm"] = tree_norm(params)
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
