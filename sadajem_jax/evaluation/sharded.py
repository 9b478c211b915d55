"""Per-row work over a data set on all devices of a run: the only place with pmap.

Each process takes its part of the rows, on its own devices and with its own copy of the parameters,
and all have the values of all rows in the end. All matrix products run at `highest` precision: on a
GPU float32 would otherwise mean TF32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sadajem_jax.console import processes
from sadajem_jax.console.progress import Advance

Rows = Any
PerRow = Callable[[Any, Rows], dict[str, jax.Array]]
"""(variables, rows [B, ...]) -> {name: [B, ...] value of each row}."""

AXIS = "device"


class ShardedRows:
    """Per-row values of any number of rows, in the rows' order, the padding removed.

    The parameters are replicated and the rows shared out.

    Args:
      per_row: pure, each value [B, ...]; compiled once for all devices.
      batch_size: rows a device takes at a time.
      devices: all local ones by default.
    """

    def __init__(
        self, per_row: PerRow, *, batch_size: int, devices: Sequence[jax.Device] | None = None
    ) -> None:
        self.devices = list(devices or jax.local_devices())
        self.batch_size = batch_size
        precise = jax.default_matmul_precision("highest")(per_row)
        self._run = jax.pmap(precise, axis_name=AXIS, in_axes=(None, 0), devices=self.devices)

    def __call__(
        self, variables: Any, rows: Rows, progress: Advance | None = None
    ) -> dict[str, np.ndarray]:
        """Runs over all rows; where several processes make up a run, all must call it.

        Args:
          variables: of the model, host-local.
          rows: pytree of numpy arrays [N, ...].
          progress: is told how many rows are done.

        Returns:
          {name: [N, ...]}, on the host.

        Raises:
          ValueError: if there is no row.
          Elsewhere: if another process has failed, here or before.
        """
        num_rows = len(jax.tree.leaves(rows)[0])
        if not num_rows:
            raise ValueError("expected at least one row, found none")
        if processes.is_alone():
            return self._here(variables, rows, num_rows, progress)
        each = -(-num_rows // processes.count())
        own = np.minimum(np.arange(each) + processes.number() * each, num_rows - 1)
        rows = jax.tree.map(lambda x: x[own], rows)
        found = self._here(variables, rows, each, progress)
        processes.meet()  # before anything is sent: another one's part may have failed
        found = multihost_utils.process_allgather(found, tiled=True)
        return {name: value[:num_rows] for name, value in found.items()}

    def _here(
        self, variables: Any, rows: Rows, num_rows: int, progress: Advance | None
    ) -> dict[str, np.ndarray]:
        """Runs over rows [N, ...] on this process's devices."""
        parts: dict[str, list[np.ndarray]] = {}
        done = 0
        for values in self._batches(variables, rows, num_rows):
            for name, value in values.items():
                flat = np.asarray(value).reshape(-1, *value.shape[2:])
                parts.setdefault(name, []).append(flat[: num_rows - done])
            done = min(done + len(self.devices) * self.batch_size, num_rows)
            if progress:
                progress(done, num_rows)
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    def _batches(self, variables: Any, rows: Rows, num_rows: int) -> Iterator[dict[str, jax.Array]]:
        """What the devices make of each batch, [devices, B, ...], in order."""
        mesh = Mesh(np.array(self.devices), (AXIS,))
        copies = jax.device_put(variables, NamedSharding(mesh, PartitionSpec()))
        for start in range(0, num_rows, len(self.devices) * self.batch_size):
            yield self._run(copies, self._shards(rows, start, num_rows))

    def _shards(self, rows: Rows, start: int, num_rows: int) -> Rows:
        """Rows from `start` on as [devices, B, ...], the last repeated to fill."""
        lead = (len(self.devices), self.batch_size)
        taken = np.minimum(np.arange(start, start + lead[0] * lead[1]), num_rows - 1)
        return jax.tree.map(lambda x: x[taken].reshape(*lead, *x.shape[1:]), rows)
