"""A classifier behind its own chain, compiled for a fixed number of rows: (image, chain) pairs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import backend, sgld
from sadajem_jax.evaluation.autoattack.batches import KEPT, Placement
from sadajem_jax.evaluation.autoattack.predictor import precise
from sadajem_jax.evaluation.networks import Logits
from sadajem_jax.evaluation.robustness.purification import chain

SEGMENT = 25  # steps a program takes at a time: what a gradient keeps, and how often it is heard

Programs = dict[int, Callable[..., Any]]
"""By the number of steps."""
Heard = Callable[[int], None]
"""How many steps of rows were done, in gradients of one image."""


class Trace(NamedTuple):
    """What purification of a batch of rows left, on the devices.

    Attributes:
      keys: [R] one a row.
      states: x before each segment of the chain, and after the last.
      logits: [n, C] of the n rows that are no padding, on the host.
    """

    keys: jax.Array
    states: list[jax.Array]
    logits: np.ndarray


class Purifier:
    """The chain and the network behind it, in full float32 precision unless the network is not.

    A chain is cut into segments: one step each on the CPU, where loops make convolution gradients
    many times slower, and loops of `SEGMENT` steps elsewhere. Only the states between segments are
    kept for the gradient.

    Args:
      logits_fn: pure; no row's result may depend on the rows beside it.
      kernel: the constants of the chain.
      num_steps: its length; 0 leaves images as they are.
      placement: where rows and variables lie.
      heard: told what was done.
      segment: steps a program takes at a time; None: see above.
    """

    def __init__(
        self,
        logits_fn: Logits,
        kernel: sgld.Langevin,
        num_steps: int,
        placement: Placement,
        heard: Heard = lambda done: None,
        segment: int | None = None,
    ) -> None:
        self.placement, self._heard = placement, heard
        self.segments = list(segments(num_steps, segment))
        jit, of_rows = placement.jit, ("all", "rows", "rows", "all")
        self._purify: Programs = {}
        self._pull: Programs = {}
        for length in {length for _, length in self.segments}:
            step = _made(chain.purify, logits_fn, kernel, num_steps=length)
            back = _made(chain.pull, logits_fn, kernel, num_steps=length)
            self._purify[length] = jit(step, *of_rows)
            self._pull[length] = jit(back, *of_rows, "rows", "rows")
        self._keys = jit(_row_keys, "all", "rows", "rows")
        self._logits = jit(precise(logits_fn), "all", "rows")
        self._pull_logits = jit(_made(_pull_logits, logits_fn), "all", "rows", "rows")

    def trace(self, x: np.ndarray, key: jax.Array, image: np.ndarray, number: np.ndarray) -> Trace:
        """Purifies at most as many rows as the placement holds.

        Args:
          x: [n, H, W, channels] float32 in [-1, 1].
          key: of this evaluation; a row's is fold_in(fold_in(key, image), number).
          image: [n] which image a row is of, and
          number: [n] which of its chains.
        """
        place, count = self.placement, len(x)
        rows, image, number = place.put((x, image.astype(np.int32), number.astype(np.int32)))
        keys = self._keys(key, image, number)
        states = [rows]
        for first, length in self.segments:
            moved = self._purify[length](place.variables, keys, states[-1], np.int32(first))
            states.append(jax.block_until_ready(moved))
            self._heard(count * length)
        logits = np.asarray(self._logits(place.variables, states[-1]), np.float32)
        return Trace(keys, states, logits[:count])

    def pull(
        self, trace: Trace, cotangent: np.ndarray, *, through_chain: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The gradient of rows of a trace, from the one with respect to their logits.

        Args:
          trace: of these rows.
          cotangent: [n, C].
          through_chain: False: the chain's backward pass is the identity.

        Returns:
          v [n, H, W, channels] and exponent [n]: each row's gradient is v 2^exponent.
        """
        place, count = self.placement, len(cotangent)
        v, exponent = self._pull_logits(
            place.variables, trace.states[-1], place.put(cotangent.astype(np.float32))
        )
        self._heard(count)
        if through_chain:
            for (first, length), x in zip(self.segments[::-1], trace.states[-2::-1], strict=True):
                v, exponent = self._pull[length](
                    place.variables, trace.keys, x, np.int32(first), v, exponent
                )
                jax.block_until_ready(v)
                self._heard(count * length * (gradients_a_step(length) - 1))
        return np.asarray(v)[:count], np.asarray(exponent)[:count]


def segments(num_steps: int, segment: int | None = None) -> Iterator[tuple[int, int]]:
    """(first step, number of steps) of each segment of a chain.

    Examples:
      >>> list(segments(7, 3))
      [(0, 3), (3, 3), (6, 1)]
    """
    longest = segment or (1 if backend.unrolls() else SEGMENT)
    return ((at, min(longest, num_steps - at)) for at in range(0, num_steps, longest))


def gradients_a_step(segment: int) -> int:
    """What a chain step of one row takes with its gradient, in gradients, by operations.

    A gradient is a forward pass and one back to the input, as is a step. Back through a step goes
    the gradient again and then each of its two passes transposed: 2. A segment above one step
    computes its states once more: 1.
    """
    return 3 if segment == 1 else 4


@functools.lru_cache(maxsize=KEPT)
def _made(function: Callable[..., Any], *args: Any, **settings: Any) -> Callable[..., Any]:
    """The function with its first arguments, in full precision; always the same for the same ones.

    So that a program is found again by whoever purifies with the same network and kernel.
    """
    made = functools.partial(function, *args, **settings)
    return jax.default_matmul_precision("highest")(made)


def _row_keys(key: jax.Array, image: jax.Array, number: jax.Array) -> jax.Array:
    def one(image: jax.Array, number: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(key, image), number)

    return jax.vmap(one)(image, number)


def _pull_logits(
    logits_fn: Logits, variables: Any, x: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The gradient at x of logits [R, C] times the cotangent, as `chain.normalised` gives it."""
    logits, pullback = jax.vjp(functools.partial(logits_fn, variables), x)
    (v,) = pullback(cotangent.astype(logits.dtype))
    return chain.normalised(v, jnp.zeros(len(x), jnp.int32))
