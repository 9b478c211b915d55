"""The two forms a run's program takes: steps looped in one dispatch, and a dispatch a step."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from sadajem_jax import config as config_files
from sadajem_jax import experiment, runner
from sadajem_jax.data import Images
from sadajem_jax.experiment import Experiment
from sadajem_jax.runner import Runner
from sadajem_jax.train_state import TrainState

WINDOW = 4


@pytest.fixture(scope="module")
def small() -> Experiment:
    """The digits' run, on random images, with a network and batches as small as can be."""
    config = config_files.load("configs/digits.py")
    changes = {
        "model.width": "1",
        "sgld.num_steps": "2",
        "buffer.size": "20",
        "buffer.num_shards": "2",
        "buffer.reinit_prob": "0.3",
        "train.batch_size_px": "4",
        "train.batch_size_label": "6",
        "train.num_steps": "200",
        "train.learning_rate": "0.01",
    }
    config_files.override(config, changes)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "WINDOW", WINDOW)
        return experiment.build(config, Images(images, np.arange(40, dtype=np.int32) % 10))


@pytest.fixture(scope="module")
def start(small: Experiment) -> TrainState:
    """The first state, on the host: every run takes a copy of it, which it donates."""
    return jax.tree.map(np.array, small.initial_state())


def fresh(start: TrainState) -> TrainState:
    """A copy on the device."""
    return jax.tree.map(jax.numpy.array, start)


class Counted:
    """A runner whose step counts how often it is traced, and that says what its blocks were."""

    def __init__(self, small: Experiment, looped: bool, stop: Any = lambda: False) -> None:
        self.traces = 0
        self.lengths: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jax, "default_backend", lambda: "gpu" if looped else "cpu")
            self.runner = Runner(small._replace(step=self.count(small.step)), stop)

    def count(self, step: Any) -> Any:
        """The step, counting its traces."""

        def counted(*args: Any) -> Any:
            self.traces += 1
            return step(*args)

        return counted

    def run(self, state: TrainState, until: int) -> tuple[TrainState, dict[str, np.ndarray]]:
        """State and metrics after all blocks up to `until`."""
        step, history = int(state.step), []
        while step < until:
            block = self.runner.run(state, step, until)
            state = block.state
            self.lengths.append(len(block.metrics["loss"]))
            history.append(block.metrics)
            step += self.lengths[-1]
            assert int(state.step) == step
        return state, {name: np.concatenate([m[name] for m in history]) for name in history[0]}


@pytest.fixture
def long_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks as long as the feed and `until` let them be, but for the first one."""
    monkeypatch.setattr(runner, "BLOCK_SECONDS", 1e9)


@pytest.fixture(scope="module")
def dispatched(small: Experiment, start: TrainState) -> Any:
    """(runner, state, metrics) of seven dispatched steps."""
    counted = Counted(small, looped=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "BLOCK_SECONDS", 1e9)
        state, metrics = counted.run(fresh(start), 7)
    return counted, state, metrics


@pytest.mark.usefixtures("long_blocks")
def test_looped_and_dispatched_steps_agree(
    small: Experiment, start: TrainState, dispatched: Any
) -> None:
    """Seven steps in one program's loop are, to rounding, seven dispatches of the step.

    Blocks of every length are one compiled program: the trip count is traced.
    """
    counted, state, metrics = dispatched
    looped = Counted(small, looped=True)
    half, first_metrics = looped.run(fresh(start), 1)
    traces = looped.traces
    looped_state, rest = looped.run(half, 7)
    assert looped.traces == traces
    assert looped.lengths == counted.lengths == [1, 3, 3]
    assert looped.runner.is_looped
    assert not counted.runner.is_looped
    for name, values in metrics.items():
        found = np.concatenate([first_metrics[name], rest[name]])
        np.testing.assert_allclose(found, values, rtol=1e-3, atol=1e-4, err_msg=name)

    def close(a: Any, b: Any) -> None:
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)

    jax.tree.map(close, looped_state, state)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.params, start.params)
    assert max(jax.tree.leaves(moved)) > 1e-2  # far beyond the tolerance


def test_dispatched_steps_are_traced_once(dispatched: Any) -> None:
    """Seven dispatches, over two feeds, trace the step once."""
    assert dispatched[0].traces == 1


def test_a_resumed_run_goes_the_same_way(small: Experiment, start: TrainState) -> None:
    """Stopping after three steps and going on, with a new runner, changes no bit of the state."""
    counted = Counted(small, looped=False)
    unbroken, _ = counted.run(fresh(start), 5)
    state, _ = counted.run(fresh(start), 3)
    state = jax.tree.map(jax.numpy.array, jax.tree.map(np.array, state))
    again = counted.runner
    again._feed = None  # as a new process has none
    resumed, _ = counted.run(state, 5)
    jax.tree.map(np.testing.assert_array_equal, resumed, unbroken)


@pytest.mark.usefixtures("long_blocks")
def test_a_stop_ends_the_block_after_the_step(small: Experiment, start: TrainState) -> None:
    """Where `stop` turns true the block ends early, with the state after its last step."""
    answers = iter([False, False, True])
    counted = Counted(small, looped=False, stop=lambda: next(answers))
    block = counted.runner.run(fresh(start), 0, 4)  # the first block is a step
    block = counted.runner.run(block.state, 1, 4)
    assert len(block.metrics["loss"]) == 2
    assert int(block.state.step) == 3


def test_a_block_is_about_as_long_as_it_may_be(small: Experiment) -> None:
    """A block has one step while nothing is known, then as many as two seconds hold, one at least.

    It never passes `until` or the end of its feed.
    """
    length = Counted(small, looped=False).runner
    assert length._length(50) == 1
    for seconds, expected in ((0.1, 20), (0.001, 50), (60.0, 1)):
        length._seconds_per_step = seconds
        assert length._length(50) == expected
