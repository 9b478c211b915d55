"""The host beside an accelerator: what it waits for in a block.

On the CPU nothing tells: NumPy reads an array there by its buffer, which neither a transfer guard
nor `Array._value` sees. So objects that count their reads stand for an accelerator's arrays.
"""

from __future__ import annotations

import contextlib
import pathlib
import threading
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sadajem_jax import backend
from sadajem_jax.informative_init import Starts
from sadajem_jax.randomness import run_key
from sadajem_jax.step_inputs import Feed
from sadajem_jax.train_state import TrainState
from sadajem_jax.train_step import Dataset, Metrics
from sadajem_jax.training import runner, train
from sadajem_jax.training.experiment import Experiment
from sadajem_jax.training.feed import Feeder, Stream
from sadajem_jax.training.run_log import RunLog
from sadajem_jax.wide_resnet import WideResNet

WINDOW, STEPS = 4, 10


class OnDevice:
    """Stands for an accelerator's array: notes every way in which it is read; slices are free."""

    is_fully_addressable = True  # of a run of one process

    def __init__(self, value: Any, reads: list[str]) -> None:
        self.value, self.reads = value, reads

    def __getitem__(self, at: Any) -> OnDevice:
        return OnDevice(self.value[at], self.reads)

    def read(self, how: str) -> np.ndarray:
        """The array, on the host."""
        self.reads.append(how)
        return np.asarray(self.value)

    def __array__(self, *args: Any, **how: Any) -> np.ndarray:
        return self.read("array")

    def __int__(self) -> int:
        return int(self.read("int"))

    def __float__(self) -> float:
        return float(self.read("float"))

    def __bool__(self) -> bool:
        return bool(self.read("bool"))


class Accelerator:
    """Runs a run's program as one would: what it returns can be read, but not unnoticed.

    Its call comes back only when the next feed is made: on a GPU it comes back when the block ends.
    """

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.blocks = 0
        self.made = {0: threading.Event()} | {
            step: threading.Event() for step in range(WINDOW, STEPS, WINDOW)
        }

    def holds(self, tree: Any) -> Any:
        """The tree, of such arrays."""
        return jax.tree.map(lambda x: OnDevice(x, self.reads), tree)

    def device_get(self, tree: Any) -> Any:
        """Stands for `jax.device_get`: one wait for all that is asked for together."""
        self.reads.append("get")
        return jax.tree.map(lambda x: np.asarray(x.value), tree)

    def program(self, step: Any, **how: Any) -> Any:
        """Stands for `runner.program`."""
        block = PROGRAM(step, **how)

        def call(*args: Any) -> Any:
            args = jax.tree.map(lambda x: x.value if isinstance(x, OnDevice) else x, args)
            self.blocks += 1
            following = int(args[1].first_step) + WINDOW
            assert following >= STEPS or self.made[following].wait(20), "no feed made meanwhile"
            return self.holds(block(*args))

        return call


PROGRAM = runner.program


class NotedFeeder(Feeder):
    """A feeder that tells when a feed is made."""

    made: dict[int, threading.Event]

    def feed(self, step: int) -> tuple[Feed, int]:
        """As that of every feeder."""
        found = super().feed(step)
        self.made[step].set()
        return found


def toy(state: TrainState, feed: Feed, data: Dataset, key: jax.Array) -> tuple[TrainState, Metrics]:
    """A step with the metrics that a log line has."""
    value = jnp.sum(feed.fresh_row[state.step - feed.first_step]) / 100
    metrics = {"loss": value, "cross_entropy": value, "accuracy": value}
    return state.replace(step=state.step + 1), metrics


def experiment_on(accelerator: Accelerator) -> Experiment:
    """A run of the toy whose fresh rows lie on the accelerator."""
    starts = Starts(
        lambda keys: (keys, jnp.zeros(len(keys), int)),
        lambda keys: keys,
        lambda keys, classes: accelerator.holds(jnp.zeros((len(keys), 2, 2, 1))),
    )
    streams = Stream(0, 0, 10, 3), Stream(0, 1, 10, 2)
    feeder = NotedFeeder(*streams, run_key(0), 0.5, starts, WINDOW)
    feeder.made = accelerator.made
    return Experiment(
        model=WideResNet(10, 1, 2),
        tx=optax.with_extra_args_support(optax.identity()),
        rate=optax.constant_schedule(0.1),
        step=toy,
        feeder=feeder,
        data=Dataset(jnp.zeros((10, 2, 2, 1), jnp.uint8), jnp.arange(10)),
        key=run_key(0),
        total_steps=STEPS,
        initial_state=lambda: accelerator.holds(
            TrainState(jnp.zeros((), jnp.int32), {}, {}, (), jnp.zeros((3, 2, 2, 1)))
        ),
    )


def test_the_host_waits_once_a_block(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """A whole run on an accelerator waits once a block, for its metrics; feeds wait for nothing.

    Besides it waits for the first step's number and for each grid of samples; log lines, the check
    for divergence and marks need nothing more. Each next feed is made while a block runs.
    """
    accelerator = Accelerator()
    monkeypatch.setattr(jax, "device_get", accelerator.device_get)
    monkeypatch.setattr(backend, "unrolls", lambda: False)
    monkeypatch.setattr(runner, "program", accelerator.program)
    monkeypatch.setattr(runner, "BLOCK_SECONDS", 1e9)
    made, saved = experiment_on(accelerator), []
    cadence = SimpleNamespace(save=5, draw=6)
    checkpoints = SimpleNamespace(save=lambda step, state: saved.append(step), wait=lambda: None)
    job: Any = SimpleNamespace(
        stop=lambda: False,
        recipe=SimpleNamespace(cadence=cadence, has_chains=True),
        checkpoints=checkpoints,
    )
    validator: Any = SimpleNamespace(next_step=lambda step: 2**62)
    how: Any = {"batch_size": 2, "steps_per_epoch": 5, "first_spread": 0.0}
    how |= {"rates": np.zeros(STEPS), "settings": {}}
    log = RunLog(tmp_path, 0, total_steps=STEPS, every_steps=1, **how)
    with contextlib.closing(log):
        train.loop(job, runner.Runner(made), made.initial_state(), {}, log, validator)
    assert accelerator.blocks == 6  # 0 to 1, 4 (a feed's end), 5 (saved), 6 (drawn), 8, 10
    grids = len(list((tmp_path / "samples").iterdir()))
    assert accelerator.reads.count("get") == accelerator.blocks, accelerator.reads
    assert accelerator.reads.count("array") == grids == 2
    assert len(accelerator.reads) == accelerator.blocks + grids + 1
    assert saved == [0, 5, 10, 10]
    assert len((tmp_path / "train_metrics.jsonl").read_text().splitlines()) == STEPS
