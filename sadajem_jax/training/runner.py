"""Runs blocks of steps as one compiled program, in the form that suits the backend.

On a GPU a block is one dispatch: a `fori_loop` with a traced trip count. On the CPU a step is a
dispatch, because XLA:CPU's convolution gradients are 10 to 50 times slower inside a loop. The
forms agree to rounding, not to the bit: a run keeps to one of them.

The host waits for a GPU once a block: for its metrics, all at once. The next feed is made
meanwhile, see `ahead`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from sadajem_jax import backend
from sadajem_jax.console import processes
from sadajem_jax.step_inputs import Feed
from sadajem_jax.train_state import TrainState
from sadajem_jax.train_step import Step, looped
from sadajem_jax.training import sharding
from sadajem_jax.training.ahead import Feeds
from sadajem_jax.training.experiment import Experiment

BLOCK_SECONDS = 2.0  # a block is no longer, so that a signal is answered soon


class Block(NamedTuple):
    """What a block of steps left.

    Attributes:
      state: after its last step.
      metrics: name -> [n] float32 of its steps, on the host.
      seconds: wall-clock time.
    """

    state: TrainState
    metrics: dict[str, np.ndarray]
    seconds: float


def program(step: Step, *, is_looped: bool, **placements: Any) -> Any:
    """The jitted program of a run: a block of steps or one, which takes the state's place.

    Args:
      step: the pure step; its chain should have the same form.
      is_looped: whether it is a block of steps, see `train_step.looped`, as on a GPU.
      **placements: as of `jax.jit`, where arguments and results do not lie on one device.
    """
    return jax.jit(looped(step) if is_looped else step, donate_argnums=0, **placements)


class Runner:
    """Runs steps of an experiment.

    Args:
      experiment: the run.
      stop: asked after every step (a GPU: every block); True ends a block early.
    """

    def __init__(self, experiment: Experiment, stop: Callable[[], bool] = lambda: False) -> None:
        self.experiment, self.stop = experiment, stop
        self.is_looped = not backend.unrolls()
        placements = sharding.of_program(experiment.over, is_looped=self.is_looped)
        self._program = program(experiment.step, is_looped=self.is_looped, **placements)
        self._seconds_per_step: float | None = None
        self._feeds = Feeds(self._placed_feed, experiment.total_steps, ahead=self.is_looped)

    def compile(self, state: TrainState) -> None:
        """Compiles the program now; waits for no array: only their shapes are looked at.

        Args:
          state: the first one, wherever it lies.
        """
        e, count = self.experiment, (1,) * self.is_looped
        like = sharding.shapes_of(state, sharding.state_on(e.over))
        feed = e.feeder.shapes(state.buffer.shape[1:])
        feed = sharding.shapes_of(feed, sharding.feed_on(e.over))
        self._program.lower(like, feed, e.data, e.key, *count).compile()

    def run(self, state: TrainState, step: int, until: int) -> Block:
        """Runs steps from `step` (= state.step) on, at most until `until`, maybe fewer.

        Args:
          state: wherever it lies; donated: not to be used afterwards.
          step: its step, known on the host.
          until: the step not to pass.
        """
        feed, end = self._feeds.at(step)
        state = sharding.placed(state, sharding.state_on(self.experiment.over))
        start = time.perf_counter()
        run = self._loop if self.is_looped else self._dispatch
        state, metrics = run(state, feed, self._length(min(until, end) - step))
        seconds = time.perf_counter() - start
        count = len(next(iter(metrics.values())))
        self._seconds_per_step = seconds / count
        return Block(state, metrics, seconds)

    def _placed_feed(self, step: int) -> tuple[Feed, int]:
        feed, end = self.experiment.feeder.feed(step)
        return sharding.placed(feed, sharding.feed_on(self.experiment.over)), end

    def _length(self, most: int) -> int:
        """As many steps as two seconds hold; one at first, when nothing is known."""
        if self._seconds_per_step is None:
            return 1
        own = max(1, min(most, int(BLOCK_SECONDS / self._seconds_per_step)))
        return processes.highest(own)  # clocks differ

    def _loop(
        self, state: TrainState, feed: Feed, count: int
    ) -> tuple[TrainState, dict[str, np.ndarray]]:
        e = self.experiment
        state, history = self._program(state, feed, e.data, e.key, count)
        history = jax.device_get(history)  # the one wait of a block
        return state, {name: values[:count] for name, values in history.items()}

    def _dispatch(
        self, state: TrainState, feed: Feed, count: int
    ) -> tuple[TrainState, dict[str, np.ndarray]]:
        e, history = self.experiment, []
        for _ in range(count):
            state, metrics = self._program(state, feed, e.data, e.key)
            history.append(jax.device_get(metrics))  # waits: a signal is seen after this step
            if self.stop():
                break
        return state, {name: np.stack([m[name] for m in history]) for name in history[0]}
