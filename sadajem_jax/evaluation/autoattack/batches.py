"""Attacks and predictions on batches of one shape, shared out over the local devices.

The rows lie along one mesh axis and the variables on every device; since no row needs another, the
devices never talk. The last batch is filled up with copies of its last row: all is compiled once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sadajem_jax import backend
from sadajem_jax.evaluation.autoattack.attack import Attack, Logits, Rows, fooled
from sadajem_jax.evaluation.autoattack.projections import size

CHUNK = 100  # queries that a program takes at a time, so that progress is heard and an end noticed
SLACK = 1e-5  # rounding of a norm, as a share of eps, and of a value

ALONG, EVERYWHERE = PartitionSpec("rows"), PartitionSpec()

Heard = Callable[[int], None]
"""How many steps of a batch are done."""


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

    def batches(self, index: np.ndarray) -> Iterator[np.ndarray]:
        """The indices in portions; the last may be shorter."""
        return (index[start : start + self.size] for start in range(0, len(index), self.size))

    def put(self, values: Any) -> Any:
        """Rows of a portion on the devices, the last repeated to fill the batch."""

        def fill(x: Any) -> Any:
            taken = np.minimum(np.arange(self.size), len(x) - 1)
            return jax.device_put(x[taken], self.rows)

        return jax.tree.map(fill, values)

    def jit(self, function: Callable[..., Any], *kinds: str) -> Callable[..., Any]:
        """Compiles a function of rows; each device runs it on its own, without hearing of others.

        `kinds` names each argument's place: "rows" lie along the devices, "all" on each of them.
        """
        places = tuple(ALONG if kind == "rows" else EVERYWHERE for kind in kinds)
        mapped = jax.shard_map(
            function, mesh=self.mesh, in_specs=places, out_specs=ALONG, check_vma=False
        )
        return jax.jit(mapped)


class Predictor:
    """Logits, and whether candidates are adversarial images, in full precision."""

    def __init__(self, logits_fn: Logits, placement: Placement, norm: str, eps: float) -> None:
        def verify(variables: Any, x: jax.Array, clean: jax.Array, labels: jax.Array) -> jax.Array:
            broken = fooled(precise(variables, x), labels)
            return broken & _within(x, clean, norm, eps)

        precise = jax.default_matmul_precision("highest")(logits_fn)
        self.placement = placement
        self._logits = placement.jit(precise, "all", "rows")
        self._verify = placement.jit(verify, "all", "rows", "rows", "rows")

    def logits(self, images: np.ndarray) -> np.ndarray:
        """[N, C] of [N, H, W, channels]."""
        place = self.placement
        parts = []
        for index in place.batches(np.arange(len(images))):
            logits = self._logits(place.variables, place.put(images[index]))
            parts.append(np.asarray(logits, np.float32)[: len(index)])
        return np.concatenate(parts)

    def broken(self, candidates: jax.Array, clean: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """[n] bool: which of a batch's n candidates are misclassified, in ball and box."""
        place = self.placement
        found = self._verify(place.variables, candidates, *place.put((clean, labels)))
        return np.asarray(found)[: len(labels)]


def _within(x: jax.Array, clean: jax.Array, norm: str, eps: float) -> jax.Array:
    """[B] bool: finite and, but for rounding, within eps of the clean image and in the box."""
    near = size(x - clean, norm) <= eps * (1 + SLACK) + SLACK / 10
    boxed = jnp.all((x >= 0) & (x <= 1), axis=tuple(range(1, x.ndim)))
    return near & boxed  # neither holds for what is no number


class Runner:
    """An attack compiled for batches of one shape."""

    def __init__(self, attack: Attack, placement: Placement) -> None:
        self.attack, self.placement = attack, placement
        self._start = placement.jit(attack.start, "rows")
        self._result = placement.jit(attack.result, "rows", "rows")
        # One gradient a dispatch on the CPU, where a loop makes input gradients many times slower.
        single = attack.gradients and backend.unrolls()
        whole = attack.num_steps if attack.gradients else CHUNK
        self.chunk = 1 if single else whole
        program = attack.step if single else self._loop
        self._advance = placement.jit(program, "all", "rows", "rows", *["all"] * (2 - single))

    def __call__(self, rows: Rows, heard: Heard) -> tuple[jax.Array, Any]:
        """Attacks a batch.

        Args:
          rows: of `Placement.put`.
          heard: is told the steps done, now and then.

        Returns:
          (candidates [B, H, W, channels], the last state), on the devices.
        """
        state = self._start(rows)
        for first in range(0, self.attack.num_steps, self.chunk):
            last = min(first + self.chunk, self.attack.num_steps)
            limits = (np.int32(first), np.int32(last))[: 1 if self.chunk == 1 else 2]
            state = self._advance(self.placement.variables, rows, state, *limits)
            heard(last)
            if self.attack.done and np.all(self.attack.done(state)):
                break
        return self._result(rows, state), state

    def _loop(self, variables: Any, rows: Rows, state: Any, first: Any, last: Any) -> Any:
        """Steps first ... last - 1, in one program for any of them."""
        step = self.attack.step
        return jax.lax.fori_loop(
            first, last, lambda i, state: step(variables, rows, state, i), state
        )
