"""Fixed images in batches of one size on the local devices, and sums over all of them.

The rows lie along one mesh axis, parameters on every device. A device normalises its own batch by
its own statistics, where a network does that: what is computed does not depend on how many devices
there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

ALONG, EVERYWHERE = PartitionSpec("rows"), PartitionSpec()

Heard = Callable[[int], None]
"""Told how many images were done since it was last told."""


class Rows(NamedTuple):
    """A batch.

    Attributes:
      images: [B, H, W, channels].
      labels: [B] int.
      weights: [B] 1, or 0 for what only fills the batch.
    """

    images: Any
    labels: Any
    weights: Any


Summed = Callable[[Any, Rows], Any]
"""(arguments, rows) -> pytree of sums over the rows."""


class Batches:
    """Images that stay on the devices, a fixed batch after the other.

    Args:
      images: [N, H, W, channels].
      labels: [N] int.
      batch_size: rows a device takes at a time. Where it does not divide N the last batch is filled
        up with copies of its last row, which count nothing; in a batch's own statistics they do.
      devices: all local ones by default.

    Attributes:
      count: N.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        if not len(images):
            raise ValueError("expected at least one image, found none")
        devices = list(devices or jax.local_devices())
        self._mesh = Mesh(np.array(devices), ("rows",))
        self.count = len(images)
        starts = range(0, self.count, batch_size * len(devices))
        taken = [start + np.arange(batch_size * len(devices)) for start in starts]
        self._rows = [self._put(images, labels, index) for index in taken]
        self._real = [int((index < self.count).sum()) for index in taken]

    def _put(self, images: np.ndarray, labels: np.ndarray, index: np.ndarray) -> Rows:
        there = np.minimum(index, self.count - 1)
        rows = Rows(images[there], labels[there], (index < self.count).astype(np.float32))
        return jax.device_put(rows, NamedSharding(self._mesh, ALONG))

    def replicate(self, values: Any) -> Any:
        """A pytree on every device."""
        return jax.device_put(values, NamedSharding(self._mesh, EVERYWHERE))

    def compile(self, function: Summed) -> Summed:
        """A function of each device's rows as one program, its sums added up over the devices."""

        def program(arguments: Any, rows: Rows) -> Any:
            return jax.lax.psum(function(arguments, rows), "rows")

        places = (EVERYWHERE, ALONG)
        mapped = jax.shard_map(
            program, mesh=self._mesh, in_specs=places, out_specs=EVERYWHERE, check_vma=False
        )
        return jax.jit(mapped)

    def each(self, program: Summed, arguments: Any, heard: Heard | None = None) -> Iterator[Any]:
        """The program's sums over each batch, one after the other.

        One batch a dispatch: on the CPU convolutions' gradients are many times slower in a loop.
        """
        for rows, real in zip(self._rows, self._real, strict=True):
            yield jax.block_until_ready(program(arguments, rows))
            if heard:
                heard(real)
