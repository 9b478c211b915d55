"""How a run's program is called: looped in one dispatch, or a dispatch a step.

The step here is a toy, so that it is the runner that is tested; that the loop of the real step
agrees with the step itself is a test of train_step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sadajem_jax.informative_init import Starts
from sadajem_jax.randomness import Purpose, run_key, step_key
from sadajem_jax.train_state import TrainState
from sadajem_jax.train_step import Dataset, Feed, Metrics
from sadajem_jax.training import runner
from sadajem_jax.training.experiment import Experiment
from sadajem_jax.training.feed import Feeder, Stream
from sadajem_jax.training.runner import Runner
from sadajem_jax.wide_resnet import WideResNet

COMPILED: list[str] = []
"""An entry a program that was compiled or read from the cache."""


def _heard(event: str, *_: Any, **__: Any) -> None:
    if event.endswith("backend_compile_duration"):
        COMPILED.append(event)


jax.monitoring.register_event_duration_secs_listener(_heard)

WINDOW = 4
DATA = Dataset(jnp.arange(40, dtype=jnp.uint8).reshape(10, 2, 2, 1), jnp.arange(10))


def toy(state: TrainState, feed: Feed, data: Dataset, key: jax.Array) -> tuple[TrainState, Metrics]:
    """A step that depends on everything a step may depend on: state, feed, data, key."""
    at = state.step - feed.first_step
    noise = jax.random.normal(step_key(key, state.step, Purpose.NOISE), (2,))
    pixels = jnp.mean(data.images[feed.px_index[at]].astype(jnp.float32))
    started = jnp.sum(jnp.where(feed.fresh_row[at] >= 0, feed.fresh_row[at] + 1, 0))
    w = 0.5 * state.params["w"] + noise + pixels + started
    metrics = {"loss": jnp.sum(w), "at": at.astype(jnp.float32)}
    return state.replace(step=state.step + 1, params={"w": w}), metrics


def no_pixels(keys: jax.Array, classes: np.ndarray) -> jax.Array:
    """Fresh rows that the toy does not look at."""
    return jnp.zeros((len(keys), 2, 2, 1))


STARTS = Starts(lambda keys: (keys, jnp.zeros(len(keys), int)), lambda keys: keys, no_pixels)


class Counted:
    """A runner of the toy, in either form, that counts traces and notes its blocks' lengths."""

    def __init__(self, looped: bool, stop: Callable[[], bool] = lambda: False) -> None:
        self.traces = 0
        self.lengths: list[int] = []
        streams = Stream(0, 0, 10, 3), Stream(0, 1, 10, 2)
        experiment = Experiment(
            model=WideResNet(10, 1, 2),
            tx=optax.with_extra_args_support(optax.identity()),
            rate=optax.constant_schedule(0.1),
            step=self.step,
            feeder=Feeder(*streams, run_key(0), 0.5, STARTS, WINDOW),
            data=DATA,
            key=run_key(0),
            total_steps=100,
            initial_state=functools.partial(first_state),
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jax, "default_backend", lambda: "gpu" if looped else "cpu")
            self.runner = Runner(experiment, stop)

    def step(self, *args: Any) -> Any:
        """The toy, counting its traces."""
        self.traces += 1
        return toy(*args)

    def run(self, state: TrainState, until: int) -> tuple[TrainState, dict[str, np.ndarray]]:
        """State and metrics after all the blocks up to `until`."""
        step, history = int(state.step), []
        while step < until:
            block = self.runner.run(state, step, until)
            state = block.state
            self.lengths.append(len(block.metrics["loss"]))
            history.append(block.metrics)
            step += self.lengths[-1]
            assert int(state.step) == step <= until
        return state, {name: np.concatenate([m[name] for m in history]) for name in history[0]}


def first_state() -> TrainState:
    """The toy's state at step 0."""
    return TrainState(jnp.zeros((), jnp.int32), {"w": jnp.ones(2)}, {}, (), jnp.zeros((3, 2, 2, 1)))


@pytest.fixture
def long_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks as long as the feed and `until` let them be, but for the first one."""
    monkeypatch.setattr(runner, "BLOCK_SECONDS", 1e9)


@pytest.mark.usefixtures("long_blocks")
def test_looped_and_dispatched_steps_agree() -> None:
    """Ten steps are the same in both forms, over blocks of several lengths and several feeds.

    Each form's program is traced for one block only: its length is a traced number.
    """
    dispatched, looped = Counted(looped=False), Counted(looped=True)
    assert looped.runner.is_looped
    assert not dispatched.runner.is_looped
    state, metrics = dispatched.run(first_state(), 10)
    half, first = looped.run(first_state(), 1)
    traces = looped.traces
    looped_state, rest = looped.run(half, 10)
    assert dispatched.traces == 1
    assert looped.traces == traces
    assert looped.lengths == dispatched.lengths == [1, 3, 4, 2]  # cut at the feeds' ends
    np.testing.assert_allclose(looped_state.params["w"], state.params["w"], rtol=1e-5)
    np.testing.assert_array_equal(metrics["at"], [0, 1, 2, 3, 0, 1, 2, 3, 0, 1])
    for name, values in metrics.items():
        assert values.shape == (10,)
        found = np.concatenate([first[name], rest[name]])
        np.testing.assert_allclose(found, values, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("looped", [False, True])
def test_a_resumed_run_goes_the_same_way(looped: bool) -> None:
    """A run that stops in the middle of a window and goes on in a new process ends alike."""
    unbroken, _ = Counted(looped).run(first_state(), 9)
    state, _ = Counted(looped).run(first_state(), 6)
    resumed, _ = Counted(looped).run(state, 9)
    np.testing.assert_array_equal(resumed.params["w"], unbroken.params["w"])


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("place", [lambda x: x, lambda x: jax.device_put(x, jax.devices()[0])])
def test_what_is_compiled_ahead_is_what_runs(looped: bool, place: Callable[[Any], Any]) -> None:
    """A first state, or one that lies where a checkpoint was read to, compiles nothing more."""

    def compiled(ahead: bool) -> int:
        counted, state = Counted(looped), place(first_state())
        before = len(COMPILED)
        if ahead:
            counted.runner.compile(state)
            assert len(COMPILED) == before + 1
        counted.run(state, 6)
        return len(COMPILED) - before

    compiled(ahead=False)  # what both need
    assert compiled(ahead=True) == compiled(ahead=False) > 1


@pytest.mark.usefixtures("long_blocks")
def test_a_stop_ends_the_block_after_the_step() -> None:
    """Where `stop` turns true the block ends early, with the state and metrics up to its step."""
    answers = iter([False, False, True])
    counted = Counted(looped=False, stop=lambda: next(answers))
    block = counted.runner.run(first_state(), 0, 4)  # the first block is one step
    assert len(block.metrics["loss"]) == 1
    block = counted.runner.run(block.state, 1, 4)
    assert len(block.metrics["loss"]) == 2
    assert int(block.state.step) == 3
    assert block.seconds > 0


def test_a_block_holds_about_two_seconds() -> None:
    """A block is one step while nothing is known, then what two seconds hold, at least a step.

    It is never longer than what is asked for.
    """
    lengths = Counted(looped=False).runner
    assert lengths._length(50) == 1
    for seconds, expected in ((0.1, 20), (0.001, 50), (60.0, 1)):
        lengths._seconds_per_step = seconds
        assert lengths._length(50) == expected
