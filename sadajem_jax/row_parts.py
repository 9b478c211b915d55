"""Equal runs of a batch's rows, worked on apart: each may lie on a device of its own.

How many there are is a number of the step's and changes nothing but where rows lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from sadajem_jax.micro_batches import join, split


def apart(fn: Callable[..., jax.Array], parts: int, *arrays: jax.Array) -> jax.Array:
    """Fn of each part of the arrays [N, ...], its results [M, ...] behind one another."""
    return fn(*arrays) if parts == 1 else join(jax.vmap(fn)(*split(arrays, parts)))


def together(batches: Sequence[jax.Array], parts: int) -> jax.Array:
    """Batches as one: first the first part of each, then the second parts, and so on."""
    return apart(lambda *each: jnp.concatenate(each), parts, *batches)


def asunder(joined: jax.Array, sizes: Sequence[int], parts: int) -> list[jax.Array]:
    """Undoes `together`: the batches, of so many rows."""
    ends = [sum(sizes[: i + 1]) // parts for i in range(len(sizes) - 1)]
    if parts == 1:
        return jnp.split(joined, ends)
    return [join(each) for each in jnp.split(split(joined, parts), ends, axis=1)]
