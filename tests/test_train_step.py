"""One training step: what it draws, what it moves and what it leaves."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sadajem_jax import (
    augment,
    batch_norm,
    objective,
    replay_buffer,
    sgld,
    sharpness_aware,
    train_step,
)
from sadajem_jax.randomness import Purpose, run_key, step_key
from sadajem_jax.train_state import TrainState
from sadajem_jax.train_step import Dataset, Feed, StepConfig
from sadajem_jax.wide_resnet import WideResNet

B, L, N, C, K = 4, 6, 16, 3, 2
SHAPE = (8, 8, 1)
MODEL = WideResNet(depth=10, width=1, num_classes=C)
KEY = run_key(0)
CONFIG = StepConfig(
    kernel=sgld.Langevin(step_size=1.0, noise_std=0.01),
    num_steps=K,
    unroll=True,
    num_shards=2,
    weights=objective.Weights(),
    pad=2,
    flip=True,
)


def optimizer(rho: jax.Array) -> optax.GradientTransformationExtraArgs:
    """The optimizer of a run with a traced radius, so that one program serves any."""

    def update(grads: Any, state: Any, params: Any, *, grad_fn: Any) -> Any:
        return sharpness_aware.sam_gradient(params, grads, grad_fn, rho)[0], state

    first = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    return optax.chain(first, optax.add_decayed_weights(5e-4), optax.sgd(0.01, momentum=0.9))


def step(
    state: TrainState,
    feed: Feed,
    data: Dataset,
    key: jax.Array,
    rho: Any = 0.2,
    config: StepConfig = CONFIG,
) -> Any:
    """The training step."""
    tx = optimizer(jnp.asarray(rho))
    return train_step.train_step(state, feed, data, key, model=MODEL, tx=tx, config=config)


@jax.jit
def assemble(state: TrainState, feed: Feed, data: Dataset) -> tuple[train_step.Batch, jax.Array]:
    """The inputs of a step, and its slots."""
    return train_step.assemble(state, feed, data, KEY, CONFIG)


def data_set() -> Dataset:
    """Twenty random images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, *SHAPE)).astype(np.uint8)
    return Dataset(jnp.asarray(images), jnp.asarray(rng.integers(0, C, 20), jnp.int32))


def feed(first_step: int = 0) -> Feed:
    """Of five steps; in each the second row of the batch starts anew, with its own value."""
    rng = np.random.default_rng(1)
    fresh_row = np.full((5, B), -1, np.int32)
    fresh_row[:, 1] = np.arange(5)
    fresh = np.broadcast_to(np.linspace(-0.9, 0.9, 5)[:, None, None, None], (5, *SHAPE))
    return Feed(
        first_step=jnp.asarray(first_step, jnp.int32),
        px_index=jnp.asarray(rng.integers(0, 20, (5, B)), jnp.int32),
        label_index=jnp.asarray(rng.integers(0, 20, (5, L)), jnp.int32),
        fresh=jnp.asarray(fresh, jnp.float32),
        fresh_row=jnp.asarray(fresh_row),
    )


@pytest.fixture(scope="module")
def variables() -> Any:
    """Random parameters of the network, and running statistics away from where they start.

    Compiling the network's own initialisation would take as long as compiling its step.
    """
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros((1, *SHAPE)))
    rng = np.random.default_rng(2)

    def draw(path: Any, leaf: Any) -> jax.Array:
        if path[-1].key == "scale":
            return jnp.ones(leaf.shape)
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 100
        return jnp.asarray(rng.uniform(-1, 1, leaf.shape) * fan_in**-0.5, jnp.float32)

    params = jax.tree_util.tree_map_with_path(draw, shapes["params"])
    moved = jax.tree.map(lambda s: jnp.linspace(0.1, 2, s.size), shapes["batch_stats"])
    return {"params": params, "batch_stats": moved}


def first_state(variables: Any, step: int = 0) -> TrainState:
    """A state of its own arrays, so that it may be donated; the buffer random, within bounds."""
    buffer = jax.random.uniform(jax.random.key(3), (N, *SHAPE), minval=-1, maxval=1)
    params, batch_stats = jax.tree.map(jnp.array, (variables["params"], variables["batch_stats"]))
    opt_state = optimizer(jnp.zeros(())).init(params)
    return TrainState(jnp.asarray(step, jnp.int32), params, batch_stats, opt_state, buffer)


def to_bytes(x: jax.Array) -> np.ndarray:
    """The bytes that floats of [-1, 1] stand for."""
    return np.rint((np.asarray(x) + 1) * 127.5).astype(np.uint8)


def host(tree: Any) -> Any:
    """A copy that a donation does not reach."""
    return jax.tree.map(np.array, tree)


# ---- the averages


def test_averages_move_by_one_minus_their_decay() -> None:
    """An average of weights and statistics is decay old + (1 - decay) new; none stays none."""
    old = {"params": {"w": jnp.array([1.0, 2.0])}, "batch_stats": {"m": jnp.array([0.0])}}
    params, statistics = {"w": jnp.array([3.0, -2.0])}, {"m": jnp.array([10.0])}
    found = train_step.averaged(old, params, statistics, 0.75)
    np.testing.assert_allclose(found["params"]["w"], [1.5, 1.0])
    np.testing.assert_allclose(found["batch_stats"]["m"], [2.5])
    assert train_step.averaged({}, params, statistics, 0.0) == {}


# ---- the inputs


def test_augmentation_touches_the_labelled_batch_only(variables: Any) -> None:
    """x_data is the indexed images, every byte; each labelled image is a window of its own."""
    state, data = first_state(variables, step=12), data_set()
    prepared = feed(first_step=10)
    batch, _ = assemble(state, prepared, data)
    at = 12 - 10
    plain = data.images[prepared.px_index[at]]
    np.testing.assert_array_equal(to_bytes(batch.x_data), plain)
    np.testing.assert_allclose(batch.x_data, augment.to_float(plain), rtol=0, atol=2e-7)
    np.testing.assert_array_equal(batch.labels, data.labels[prepared.label_index[at]])
    untouched = 0
    images = np.asarray(data.images[prepared.label_index[at]])
    for found, image in zip(to_bytes(batch.x_label), images, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")
        windows = [padded[i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
        assert any(np.array_equal(found, w) or np.array_equal(found, w[:, ::-1]) for w in windows)
        untouched += np.array_equal(found, image)
    assert untouched < L


def test_chains_start_from_their_slots_or_anew(variables: Any) -> None:
    """The starts are the buffer's drawn slots, but for the rows that the feed replaces."""
    state, prepared = first_state(variables, step=12), feed(first_step=10)
    batch, slots = assemble(state, prepared, data_set())
    expected = np.array(state.buffer[slots])
    expected[1] = prepared.fresh[2]
    np.testing.assert_array_equal(batch.x_init, expected)


def test_inputs_are_a_function_of_the_step(variables: Any) -> None:
    """Two steps draw other slots, windows and noise; the same step draws the same again."""
    state, data = first_state(variables), data_set()
    same = feed()._replace(label_index=jnp.zeros((5, L), jnp.int32))

    def draw(step: int) -> Any:
        here = state.replace(step=jnp.asarray(step, jnp.int32))
        batch, slots = assemble(here, same, data)
        return host((slots, batch.x_label, jax.random.key_data(batch.noise_keys)))

    first, again, other = draw(0), draw(0), draw(1)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


# ---- the whole step


class Run(NamedTuple):
    """Some steps of a run by one compiled program."""

    states: list[TrainState]
    metrics: list[dict[str, np.ndarray]]
    plain: TrainState  # after the first step with rho = 0
    traces: int


@pytest.fixture(scope="module")
def run(variables: Any) -> Run:
    """Three steps, each donating the state before it; and the first again, without a radius."""
    traces = 0

    def counted(*args: Any) -> Any:
        nonlocal traces
        traces += 1
        return step(*args)

    program = jax.jit(counted, donate_argnums=0)
    state, data, metrics = first_state(variables), data_set(), []
    states = [host(state)]
    for _ in range(3):
        state, measured = program(state, feed(), data, KEY, jnp.asarray(0.2))
        states.append(host(state))
        metrics.append(host(measured))
    plain = host(program(first_state(variables), feed(), data, KEY, jnp.asarray(0.0))[0])
    return Run(states, metrics, plain, traces)


def test_the_step_is_traced_once(run: Run) -> None:
    """The state that comes out has the types of the one that goes in: nothing is compiled twice."""
    assert run.traces == 1
    types = [jax.tree.map(lambda x: (x.shape, x.dtype), state) for state in run.states]
    assert all(other == types[0] for other in types)


def test_the_step_counts(run: Run) -> None:
    """Every step adds one to the counter, the optimizer's being its own."""
    assert [int(state.step) for state in run.states] == [0, 1, 2, 3]


def test_exactly_the_drawn_slots_change(run: Run) -> None:
    """Of the buffer the slots drawn in a step are written, and no others."""
    for s, (before, after) in enumerate(zip(run.states, run.states[1:], strict=False)):
        slots = replay_buffer.draw_slots(
            step_key(KEY, s, Purpose.SLOTS), size=N, num_shards=2, batch_size=B
        )
        changed = np.flatnonzero(np.any(before.buffer != after.buffer, axis=(1, 2, 3)))
        np.testing.assert_array_equal(changed, np.sort(slots))


def test_the_chains_go_from_their_starts_to_their_slots(run: Run, variables: Any) -> None:
    """Each written row is within bounds, moved, and nearest to the start of its own chain."""
    batch, slots = assemble(first_state(variables), feed(), data_set())
    written = run.states[1].buffer[np.asarray(slots)]
    assert np.abs(written).max() <= 1
    distance = np.abs(written[:, None] - np.asarray(batch.x_init)[None]).mean(axis=(2, 3, 4))
    np.testing.assert_array_equal(distance.argmin(axis=1), np.arange(B))
    assert np.diag(distance).min() > 1e-3


def test_the_second_pass_moves_no_statistics(run: Run) -> None:
    """With and without a radius the running statistics and the negative samples are the same.

    The parameters are not: the second pass does see the perturbation.
    """
    sharp, plain = run.states[1], run.plain
    jax.tree.map(np.testing.assert_array_equal, plain.batch_stats, sharp.batch_stats)
    np.testing.assert_array_equal(plain.buffer, sharp.buffer)
    apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), plain.params, sharp.params)
    assert max(jax.tree.leaves(apart)) > 1e-4


def test_the_statistics_are_those_of_every_forward_in_the_released_order(
    run: Run, variables: Any
) -> None:
    """They are the recursion over data, the chain's two states, x_neg and the labelled batch.

    So 90% of them is the labelled batch's.
    """
    before = first_state(variables)
    batch, slots = assemble(before, feed(), data_set())
    forward = jax.jit(lambda x: batch_norm.forward(MODEL, variables, x)[1])
    one = CONFIG._replace(num_steps=1)
    second = jax.jit(lambda batch: train_step.negative_samples(MODEL, variables, batch, one)[0])
    x_neg = run.states[1].buffer[np.asarray(slots)]
    expected = batch_norm.in_a_row(variables["batch_stats"])
    for x in (batch.x_data, batch.x_init, second(batch), x_neg, batch.x_label):
        expected = 0.1 * expected + 0.9 * forward(x)[0]
    found = batch_norm.in_a_row(run.states[1].batch_stats)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_looped_steps_are_the_dispatched_ones(run: Run, variables: Any) -> None:
    """Blocks of one and of two steps in a loop are, to rounding, the steps one by one.

    Both lengths are one compiled program, whose trip count is traced; the chain is a loop in it
    too, as on a GPU.
    """
    traces = 0
    config = CONFIG._replace(unroll=False)

    def counted(state: TrainState, feed: Feed, data: Dataset, key: jax.Array) -> Any:
        nonlocal traces
        traces += 1
        return step(state, feed, data, key, config=config)

    program = jax.jit(train_step.looped(counted))
    data = data_set()
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    state, metrics = program(first_state(variables), feed(), data, KEY, 1)
    after_one = traces
    jax.tree.map(close, state, run.states[1])
    state, rest = program(state, feed(), data, KEY, 2)
    jax.tree.map(close, state, run.states[3])
    assert traces == after_one
    for name, history in rest.items():
        assert history.shape == (5,)
        close([metrics[name][0], *history[:2]], [m[name] for m in run.metrics], err_msg=name)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.params, variables["params"])
    assert max(jax.tree.leaves(moved)) > 3e-3  # far beyond the tolerance


def test_every_parameter_and_statistic_moves(run: Run) -> None:
    """A step leaves no parameter and no running statistic where it was, and all are finite."""
    first, last = run.states[0], run.states[-1]
    for before, after in zip(
        jax.tree.leaves((first.params, first.batch_stats)),
        jax.tree.leaves((last.params, last.batch_stats)),
        strict=True,
    ):
        assert np.all(np.isfinite(after))
        assert np.any(before != after)


def test_the_metrics_are_finite_scalars_that_fit_together(run: Run) -> None:
    """Metrics are finite scalars; the loss is the p(x) term and the cross-entropy."""
    for metrics in run.metrics:
        assert all(np.shape(value) == () and np.isfinite(value) for value in metrics.values())
        gap = metrics["log_density_data"] - metrics["log_density_samples"]
        np.testing.assert_allclose(metrics["log_density_gap"], gap, atol=1e-5)
        np.testing.assert_allclose(metrics["px_term"], -gap, atol=1e-5)
        loss = metrics["px_term"] + metrics["cross_entropy"]
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
