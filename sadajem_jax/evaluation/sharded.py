"""Masked sums over a data set on all local devices: the only place with pmap.

Each process holds host-local copies of the parameters, so that several can evaluate at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Rows = Any
PerRow = Callable[[Any, Rows], dict[str, jax.Array]]
"""(variables, rows [B, ...]) -> {name: [B] value of each row}."""


class ShardedSums:
    """Sums of per-row values over any number of rows, exact for every remainder.

    Args:
      per_row: pure; compiled once for all devices.
      batch_size: rows a device takes at a time.
      devices: all local ones by default.
    """

    def __init__(
        self, per_row: PerRow, *, batch_size: int, devices: list[jax.Device] | None = None
    ) -> None:
        self.devices = devices or jax.local_devices()
        self.batch_size = batch_size
        self._sums = jax.pmap(_masked_sums(per_row), axis_name="device", devices=self.devices)

    def __call__(self, variables: Any, rows: Rows) -> dict[str, float]:
        """Adds up over rows.

        Args:
          variables: of the model, host-local.
          rows: pytree of numpy arrays [N, ...].

        Returns:
          {name: sum over the N rows}, added in float64 on the host.
        """
        copies = jax.device_put_replicated(variables, self.devices)
        totals: dict[str, float] = {}
        for shards, mask in self._shards(rows):
            for name, value in self._sums(copies, shards, mask).items():
                totals[name] = totals.get(name, 0.0) + float(value[0])
        return totals

    def _shards(self, rows: Rows) -> Iterator[tuple[Rows, np.ndarray]]:
        num_rows = len(jax.tree.leaves(rows)[0])
        lead = (len(self.devices), self.batch_size)
        size = lead[0] * lead[1]
        for start in range(0, num_rows, size):
            there = np.arange(start, start + size) < num_rows
            index = np.minimum(np.arange(start, start + size), num_rows - 1)
            yield (
                jax.tree.map(lambda x, i=index: x[i].reshape(*lead, *x.shape[1:]), rows),
                there.reshape(lead),
            )


def _masked_sums(per_row: PerRow) -> Callable[[Any, Rows, jax.Array], dict[str, jax.Array]]:
    def sums(variables: Any, rows: Rows, mask: jax.Array) -> dict[str, jax.Array]:
        values = per_row(variables, rows)
        masked = {name: jnp.sum(jnp.where(mask, value, 0)) for name, value in values.items()}
        return jax.lax.psum(masked, "device")

    return sums
