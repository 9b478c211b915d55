"""Attacks on batches of one shape, shared out over the local devices.

The rows lie along one mesh axis and the variables on every device; since no row needs another, the
devices never talk. The last batch is filled up with copies of its last row, and programs are kept
by their functions: all is compiled once, for any number of calls.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sadajem_jax import backend
from sadajem_jax.evaluation.autoattack.attack import Attack

HEARD_SECONDS = 1.0  # what a program takes, about, before progress is heard
FASTEST_GROWTH = 8  # of the steps a program takes: the first call compiles and says little
POOL = 8  # batches whose rows move up together, as others leave
KEPT = 64  # programs, those of some four networks

ALONG, EVERYWHERE = PartitionSpec("rows"), PartitionSpec()

Heard = Callable[[float], None]
"""How much is done, in rows."""


class Placement:
    """Where rows and variables lie, and how many rows a program takes.

    Args:
      variables: of the model; put on every device once.
      batch_size: rows a device takes at a time.
      devices: all local ones by default.
    """

    def __init__(
        self, variables: Any, batch_size: int, devices: Sequence[jax.Device] | None = None
    ) -> None:
        devices = list(devices or jax.local_devices())
        self.mesh = Mesh(np.array(devices), ("rows",))
        self.rows = NamedSharding(self.mesh, ALONG)
        self.variables = jax.device_put(variables, NamedSharding(self.mesh, EVERYWHERE))
        self.size = batch_size * len(devices)

    def batches(self, index: np.ndarray, times: int = 1) -> Iterator[np.ndarray]:
        """The indices in portions of one or more batches; the last may be shorter."""
        size = times * self.size
        return (index[start : start + size] for start in range(0, len(index), size))

    def put(self, values: Any) -> Any:
        """Rows of a portion on the devices, the last repeated to fill the batch."""

        def fill(x: Any) -> Any:
            taken = np.minimum(np.arange(self.size), len(x) - 1)
            return jax.device_put(x[taken], self.rows)

        return jax.tree.map(fill, values)

    def jit(self, function: Callable[..., Any], *kinds: str) -> Callable[..., Any]:
        """Compiles a function of rows; each device runs it on its own, without hearing of others.

        `kinds` names each argument's place: "rows" lie along the devices, "all" on each of them.
        The same function gives the same program again.
        """
        return _compiled(function, self.mesh, kinds)


@functools.lru_cache(maxsize=KEPT)
def _compiled(
    function: Callable[..., Any], mesh: Mesh, kinds: tuple[str, ...]
) -> Callable[..., Any]:
    places = tuple(ALONG if kind == "rows" else EVERYWHERE for kind in kinds)
    mapped = jax.shard_map(function, mesh=mesh, in_specs=places, out_specs=ALONG, check_vma=False)
    return jax.jit(mapped)


@functools.lru_cache(maxsize=KEPT)
def _loop(step: Callable[..., Any]) -> Callable[..., Any]:
    """Steps first ... last - 1, in one program for any of them."""

    def run(variables: Any, rows: Any, state: Any, first: Any, last: Any) -> Any:
        return jax.lax.fori_loop(
            first, last, lambda number, state: step(variables, rows, state, number), state
        )

    return run


class Pace:
    """How many steps a program takes, so that it takes about a second.

    Attributes:
      steps: of the next program.
    """

    def __init__(self, most: int) -> None:
        self.steps, self._most = 1, most

    def took(self, steps: int, seconds: float) -> None:
        """Learns from a program of so many steps."""
        wanted = int(steps * HEARD_SECONDS / max(seconds, 1e-6))
        self.steps = max(1, min(wanted, FASTEST_GROWTH * self.steps, self._most))


class Runner:
    """An attack compiled for batches of one shape."""

    def __init__(self, attack: Attack, placement: Placement) -> None:
        self.attack, self.placement = attack, placement
        # One gradient a dispatch on the CPU, where a loop makes input gradients many times slower.
        self._single = attack.gradients and backend.unrolls()
        self._pace = Pace(1 if self._single else attack.num_steps)
        self._start = placement.jit(attack.start, "rows")
        self._result = placement.jit(attack.result, "rows", "rows")
        program, numbers = (attack.step, 1) if self._single else (_loop(attack.step), 2)
        self._advance = placement.jit(program, "all", "rows", "rows", *["all"] * numbers)

    def portions(self, index: np.ndarray) -> Iterator[np.ndarray]:
        """The indices of as many rows as are best attacked in one call."""
        return self.placement.batches(index, POOL if self.attack.every else 1)

    def __call__(self, rows: Any, heard: Heard = lambda rows: None) -> tuple[np.ndarray, Any]:
        """Attacks rows.

        Args:
          rows: of any number n, a named tuple of arrays [n, ...].
          heard: is told every second or so how much is done.

        Returns:
          (candidates [n, H, W, channels], the last state of each row), on the host.
        """
        attack, count = self.attack, len(rows.images)
        states = self._in_batches(np.arange(count), self._start, rows)
        going = np.arange(count)
        every = attack.every or attack.num_steps
        for first in range(0, attack.num_steps, every):
            last = min(first + every, attack.num_steps)
            for portion in self.placement.batches(going):
                batch, state = self.placement.put(_take((rows, states), portion))
                state = self._steps(batch, state, (first, last), len(portion), heard)
                _put_back(states, portion, state)
            if attack.done:
                left = going[~np.asarray(attack.done(_take(states, going)))]
                spared = (len(going) - len(left)) * (attack.num_steps - last) / attack.num_steps
                if spared:
                    heard(spared)
                going = left
                if not going.size:
                    break
        return self._in_batches(np.arange(count), self._result, rows, states), states

    def _steps(
        self, rows: Any, state: Any, between: tuple[int, int], count: int, heard: Heard
    ) -> Any:
        """A batch from one step to another, with a word now and then."""
        first, last = between
        while first < last:
            until = min(first + self._pace.steps, last)
            limits = (np.int32(first), np.int32(until))[: 1 if self._single else 2]
            begun = time.perf_counter()
            state = self._advance(self.placement.variables, rows, state, *limits)
            jax.block_until_ready(state)
            self._pace.took(until - first, time.perf_counter() - begun)
            heard(count * (until - first) / self.attack.num_steps)
            first = until
        return state

    def _in_batches(self, index: np.ndarray, program: Callable[..., Any], *rows: Any) -> Any:
        """What a program makes of all rows, on the host."""
        found = []
        for portion in self.placement.batches(index):
            made = jax.tree.map(np.array, program(*self.placement.put(_take(rows, portion))))
            found.append(_take(made, np.arange(len(portion))))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def _take(values: Any, portion: np.ndarray) -> Any:
    return jax.tree.map(lambda x: x[portion], values)


def _put_back(states: Any, portion: np.ndarray, state: Any) -> None:
    """Writes a batch's rows, its filling left out, where they came from."""
    for old, new in zip(jax.tree.leaves(states), jax.tree.leaves(state), strict=True):
        old[portion] = np.asarray(new)[: len(portion)]
