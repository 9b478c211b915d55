"""A state as the hosts keep it: of every array what the devices of this process hold, copied.

An array is either whole on every device, or its rows lie in equal parts, one a device, in the order
of the processes. With one process a copy is a NumPy array; with several, an array over one CPU
device of each, so that every process writes its own rows.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "process"


def copied(state: Any) -> Any:
    """The copies of all arrays of a state, as NumPy's: of cut ones this process's rows."""
    return jax.tree.map(_own_rows, state)


def _own_rows(x: Any) -> np.ndarray:
    if not isinstance(x, jax.Array) or x.is_fully_addressable:
        return np.array(x)
    if x.is_fully_replicated:
        return np.array(x.addressable_data(0))
    parts = sorted(x.addressable_shards, key=lambda part: part.index[0].start or 0)
    return np.concatenate([np.asarray(part.data) for part in parts])


def joined(copies: Any, state: Any) -> Any:
    """What `copied` gave, as arrays of all processes; with one process as it is."""
    if jax.process_count() == 1:
        return copies
    mesh = Mesh(np.array(_one_of_each()), (AXIS,))

    def join(rows: np.ndarray, x: Any) -> jax.Array:
        axes = () if rows.shape == np.shape(x) else (AXIS,)
        placement = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.make_array_from_process_local_data(placement, rows, np.shape(x))

    return jax.tree.map(join, copies, state)


def _one_of_each() -> list[jax.Device]:
    """A device of every process: its CPU, or where JAX_PLATFORMS leaves it out another."""
    try:
        devices = jax.devices("cpu")
    except RuntimeError:  # JAX's answer where a backend is not there
        devices = jax.devices()
    first = {device.process_index: device for device in reversed(devices)}
    return [first[number] for number in range(jax.process_count())]
