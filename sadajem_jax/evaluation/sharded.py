"""Per-row work over a data set on all local devices: the only place with pmap.

Each process holds host-local copies of the parameters, so that several can evaluate at once. All
matrix products run at `highest` precision: on a GPU float32 would otherwise mean TF32.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Rows = Any
PerRow = Callable[[Any, Rows], dict[str, jax.Array]]
"""(variables, rows [B, ...]) -> {name: [B, ...] value of each row}."""
Progress = Callable[[int, int], None]
"""(rows done, rows in all), called after every batch."""

AXIS = "device"

_progress: contextvars.ContextVar[Progress | None] = contextvars.ContextVar(
    "progress", default=None
)


@contextlib.contextmanager
def reporting(progress: Progress) -> Iterator[None]:
    """Within it every pass over rows calls `progress`; the evaluators know nothing of it."""
    token = _progress.set(progress)
    try:
        yield
    finally:
        _progress.reset(token)


class _Sharded:
    """A function of rows on every device, the parameters replicated and the rows shared out."""

    def __init__(
        self, function: Callable[..., Any], batch_size: int, devices: Sequence[jax.Device] | None
    ) -> None:
        self.devices = list(devices or jax.local_devices())
        self.batch_size = batch_size
        precise = jax.default_matmul_precision("highest")(function)
        axes = (None, 0, 0)
        self._run = jax.pmap(precise, axis_name=AXIS, in_axes=axes, devices=self.devices)

    def _batches(self, variables: Any, rows: Rows) -> Iterator[tuple[dict[str, jax.Array], int]]:
        """(what the devices made of a batch, how many of its rows are no padding), in order."""
        num_rows = len(jax.tree.leaves(rows)[0])
        if not num_rows:
            raise ValueError("expected at least one row, found none")
        mesh = Mesh(np.array(self.devices), (AXIS,))
        copies = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
        size = len(self.devices) * self.batch_size
        for start in range(0, num_rows, size):
            shards, mask = self._shards(rows, start, num_rows)
            yield self._run(copies, shards, mask), int(mask.sum())
            if progress := _progress.get():
                progress(min(start + size, num_rows), num_rows)

    def _shards(self, rows: Rows, start: int, num_rows: int) -> tuple[Rows, np.ndarray]:
        """Rows from `start` on as [devices, B, ...], the last repeated to fill; and the mask."""
        lead = (len(self.devices), self.batch_size)
        index = np.arange(start, start + lead[0] * lead[1])
        taken = np.minimum(index, num_rows - 1)
        shards = jax.tree.map(lambda x: x[taken].reshape(*lead, *x.shape[1:]), rows)
        return shards, (index < num_rows).reshape(lead)


class ShardedSums(_Sharded):
    """Sums of per-row values over any number of rows, exact for every remainder.

    Args:
      per_row: pure, each value [B]; compiled once for all devices.
      batch_size: rows a device takes at a time.
      devices: all local ones by default.
    """

    def __init__(
        self, per_row: PerRow, *, batch_size: int, devices: Sequence[jax.Device] | None = None
    ) -> None:
        super().__init__(_masked_sums(per_row), batch_size, devices)

    def __call__(self, variables: Any, rows: Rows) -> dict[str, float]:
        """Adds up over rows.

        Args:
          variables: of the model, host-local.
          rows: pytree of numpy arrays [N, ...].

        Returns:
          {name: sum over the N rows}, added in float64 on the host.

        Raises:
          ValueError: if there is no row.
        """
        totals: dict[str, float] = {}
        for sums, _ in self._batches(variables, rows):
            for name, value in sums.items():
                totals[name] = totals.get(name, 0.0) + float(value[0])
        return totals


class ShardedRows(_Sharded):
    """Per-row values of any number of rows, in the rows' order, the padding removed.

    Args:
      per_row: pure, each value [B, ...]; compiled once for all devices.
      batch_size: rows a device takes at a time.
      devices: all local ones by default.
    """

    def __init__(
        self, per_row: PerRow, *, batch_size: int, devices: Sequence[jax.Device] | None = None
    ) -> None:
        super().__init__(lambda variables, rows, _: per_row(variables, rows), batch_size, devices)

    def __call__(self, variables: Any, rows: Rows) -> dict[str, np.ndarray]:
        """Takes what `ShardedSums` takes; returns {name: [N, ...]}, on the host."""
        parts: dict[str, list[np.ndarray]] = {}
        for values, count in self._batches(variables, rows):
            for name, value in values.items():
                flat = np.asarray(value).reshape(-1, *value.shape[2:])
                parts.setdefault(name, []).append(flat[:count])
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _masked_sums(per_row: PerRow) -> Callable[[Any, Rows, jax.Array], dict[str, jax.Array]]:
    def sums(variables: Any, rows: Rows, mask: jax.Array) -> dict[str, jax.Array]:
        values = per_row(variables, rows)
        masked = {name: jnp.sum(jnp.where(mask, value, 0)) for name, value in values.items()}
        return jax.lax.psum(masked, AXIS)

    return sums
