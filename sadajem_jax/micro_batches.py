"""A batch worked through in parts, for cards whose memory holds no whole one.

Gradients, losses and moments are means over the parts. Batch norm then normalises each part by its
own moments, with fewer images than a whole batch: another model, if the parts are small; and the
l2 penalty squares a part's mean, not the batch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def split(tree: Any, parts: int) -> Any:
    """Every leaf [B, ...] -> [parts, B / parts, ...]; B is a multiple of parts."""
    return jax.tree.map(lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), tree)


def join(x: jax.Array, axis: int = 0) -> jax.Array:
    """Undoes `split`, the rows on `axis`: [parts, ..., B / parts, ...] -> [..., B, ...]."""
    x = jnp.moveaxis(x, 0, axis)
    return x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])


def map_parts(fn: Callable[[Any], Any], parts: Any, *, unroll: bool) -> Any:
    """Fn of each part of `split`, its results stacked; looped if it is not to be unrolled."""
    if not unroll:
        return jax.lax.map(fn, parts)
    results = [fn(jax.tree.map(lambda x, i=i: x[i], parts)) for i in range(_count(parts))]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def mean_over_parts(fn: Callable[[Any], Any], parts: Any, *, unroll: bool) -> Any:
    """Mean of fn over the parts of `split`; only one part's result and the sum are alive."""
    count = _count(parts)
    first = fn(jax.tree.map(lambda x: x[0], parts))
    rest = jax.tree.map(lambda x: x[1:], parts)

    def add(total: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, fn(part)), None

    total, _ = jax.lax.scan(add, first, rest, unroll=True if unroll else 1)
    return jax.tree.map(lambda x: x / count, total)


def _count(parts: Any) -> int:
    return len(jax.tree.leaves(parts)[0])
