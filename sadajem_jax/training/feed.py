"""Prepares, outside the hot step, what some consecutive steps need: batches and fresh chain starts.

Everything is a function of (seed, step) alone. Windows of steps are cut from step 0 on, always at
the same places, so a resumed run prepares what an unbroken run prepared, to the bit.

What must be known on the host (which rows fall due, their keys and classes) is drawn on the host's
own CPU, and the fresh rows themselves where the images lie: nothing here waits for an accelerator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import backend, replay_buffer
from sadajem_jax.informative_init import Starts
from sadajem_jax.randomness import Purpose, row_keys, step_key
from sadajem_jax.step_inputs import Feed


class Stream(NamedTuple):
    """Passes over the data set, each in an order of its own, the last incomplete batch left out.

    Attributes:
      seed: of the run.
      number: 0 for the p(x) stream, 1 for the labelled one.
      num_images: N.
      batch_size: B, at most N.
    """

    seed: int
    number: int
    num_images: int
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in a pass."""
        return self.num_images // self.batch_size

    def batch(self, step: int) -> np.ndarray:
        """Indices [B] of step's images."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _order(self.seed, self.number, epoch, self.num_images)
        return order[position * self.batch_size : (position + 1) * self.batch_size]


@functools.lru_cache(maxsize=4)
def _order(seed: int, number: int, epoch: int, num_images: int) -> np.ndarray:
    return np.random.default_rng([seed, number, epoch]).permutation(num_images).astype(np.int32)


class Feeder:
    """Makes the feed of the window of steps that holds a given step.

    Args:
      px, label: the two streams.
      key: of the run, on one device.
      reinit_prob: share of rows that start anew.
      starts: the initialisation.
      window: n, steps a feed covers at most.
      place: puts the keys of fresh rows where the training images are.
    """

    def __init__(
        self,
        px: Stream,
        label: Stream,
        key: jax.Array,
        reinit_prob: float,
        starts: Starts,
        window: int,
        place: Callable[[Any], Any] = lambda keys: keys,
    ) -> None:
        self.px, self.label, self.window = px, label, window
        self.key, self._impl = jax.device_put(key, backend.host()), jax.random.key_impl(key)
        self.starts, self._place = starts, place
        self.capacity = capacity(window, px.batch_size, reinit_prob)
        self._due = jax.jit(functools.partial(_due, px.batch_size, window, reinit_prob))
        self._drawn = jax.jit(lambda *at: starts.drawn(_fresh_keys(*at)))

    def shapes(self, image_shape: tuple[int, ...]) -> Feed:
        """What `feed` prepares, each leaf a shape, for images (H, W, channels)."""
        shape: Any = jax.ShapeDtypeStruct
        px, label = (
            shape((self.window, stream.batch_size), jnp.int32) for stream in (self.px, self.label)
        )
        fresh = shape((self.capacity, *image_shape), jnp.float32)
        return Feed(shape((), jnp.int32), px, label, fresh, fresh_row=px)

    def feed(self, step: int) -> tuple[Feed, int]:
        """(feed, end): the feed that covers step, good for the steps up to (not including) end."""
        start = step - step % self.window
        due = np.array(self._due(self.key, start))  # [n, B] bool
        first, end = window_around(step - start, due.sum(axis=1), self.capacity)
        due[:first], due[end:] = False, False
        steps, rows = np.nonzero(due)
        fresh_row = np.full(due.shape, -1, np.int32)
        fresh_row[steps, rows] = np.arange(len(steps))
        return self._assemble(start, fresh_row, self._fresh(start, steps, rows)), start + end

    def _fresh(self, start: int, steps: np.ndarray, rows: np.ndarray) -> jax.Array:
        """[capacity] fresh rows: those due, the rest padding, a shape that never changes."""
        places = np.zeros((2, self.capacity), np.int32)
        places[:, : len(steps)] = steps, rows
        keys, drawn = self._drawn(self.key, start, *places)
        classes = np.array(drawn)
        classes[len(steps) :] = -1  # not asked for
        data = self._place(np.asarray(jax.random.key_data(keys)))
        return self.starts.of_classes(jax.random.wrap_key_data(data, impl=self._impl), classes)

    def _assemble(self, start: int, fresh_row: np.ndarray, fresh: jax.Array) -> Feed:
        steps = range(start, start + self.window)
        return Feed(
            first_step=jnp.asarray(start, jnp.int32),
            px_index=jnp.asarray(np.stack([self.px.batch(s) for s in steps])),
            label_index=jnp.asarray(np.stack([self.label.batch(s) for s in steps])),
            fresh=fresh,
            fresh_row=jnp.asarray(fresh_row),
        )


def capacity(window: int, batch_size: int, reinit_prob: float) -> int:
    """Fresh rows a feed has room for: six standard deviations above the mean, a batch at least."""
    rows = window * batch_size
    mean = rows * reinit_prob
    spread = (rows * reinit_prob * (1 - reinit_prob)) ** 0.5
    return max(batch_size, min(rows, int(mean + 6 * spread) + 1))


def window_around(step: int, due: np.ndarray, room: int) -> tuple[int, int]:
    """(first, end) of the part of a window that holds `step`, where each part's rows fit the room.

    Nearly always the whole window; where too many rows fall due it is cut, greedily from its start.

    Examples:
      >>> window_around(2, np.array([1, 1, 1, 1]), 10), window_around(2, np.array([1, 1, 1, 1]), 3)
      ((0, 4), (0, 3))
    """
    first, total = 0, 0
    for i, count in enumerate(due):
        if total + count > room:
            if i > step:
                return first, i
            first, total = i, 0
        total += count
    return first, len(due)


def _due(
    batch_size: int, window: int, reinit_prob: float, key: jax.Array, start: jax.Array
) -> jax.Array:
    """[window, B] bool: the rows that start anew, each decided by its own (step, row)."""

    def of_step(step: jax.Array) -> jax.Array:
        keys = row_keys(step_key(key, step, Purpose.REINIT), batch_size)
        return replay_buffer.reinitialised(keys, reinit_prob)

    return jax.vmap(of_step)(start + jnp.arange(window))


def _fresh_keys(key: jax.Array, start: jax.Array, steps: jax.Array, rows: jax.Array) -> jax.Array:
    """[M] keys of the fresh rows at (start + steps, rows), as `row_keys` gives them."""

    def of_row(step: jax.Array, row: jax.Array) -> jax.Array:
        return jax.random.fold_in(step_key(key, start + step, Purpose.FRESH), row)

    return jax.vmap(of_row)(steps, rows)
