"""Groups of rows in one batch: their means, and a value for each put onto its rows.

So three batches go through a network in one forward and are normalised apart. Written in sums over
which parts belong to which group: the gradient of a look-up by row would be a scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import row_parts

Groups = tuple[int, ...]
"""The group of each of P equal parts of a batch, numbered from 0; none: all is one group."""


class Shares(NamedTuple):
    """How the rows of every batch are shared out.

    Attributes:
      norm_groups: equal runs of its rows that batch norm takes by themselves.
      parts: equal runs of its rows that may lie on devices of their own, see `row_parts`; they
        change where rows lie, and no result.
    """

    norm_groups: int = 1
    parts: int = 1


class Layout(NamedTuple):
    """How batches lie in one.

    Attributes:
      groups: of the one that they make.
      owners: [G] the batch that each group is of, by its number.
    """

    groups: Groups
    owners: tuple[int, ...]


def layout(sizes: Sequence[int], shares: Shares) -> Layout:
    """Batches of these sizes as one: the first part of each, then the second of each, and so on.

    Part i of a batch is its i-th run of rows, and so are its groups. They are numbered as they
    first appear, so that groups which lie inside a part are the same in each, see `_repeats`.

    Args:
      sizes: of the batches.
      shares: of each.

    Raises:
      ValueError: if a batch is no multiple of groups or parts.

    Examples:
      >>> layout([64, 64, 128], Shares()).groups
      (0, 1, 2, 2)
      >>> layout([4, 8], Shares(norm_groups=2, parts=2)).groups
      (0, 1, 1, 2, 3, 3)
    """
    runs, unit = math.lcm(*shares), math.gcd(*sizes)
    if unit % runs:
        raise ValueError(f"batches must be multiples of each of {shares}, found {[*sizes]}")
    groups = [
        (batch, run * shares.norm_groups // runs)
        for first in range(0, runs, runs // shares.parts)
        for batch, size in enumerate(sizes)
        for run in range(first, first + runs // shares.parts)
        for _ in range(size // unit)
    ]
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    if len(numbers) == 1:
        return Layout((), (0,))
    return Layout(tuple(numbers[group] for group in groups), tuple(batch for batch, _ in numbers))


def count(groups: Groups) -> int:
    """G, how many groups there are; 1 of a batch that is one group."""
    return max(groups, default=0) + 1


def rows(groups: Groups, batch_size: int) -> np.ndarray:
    """[G] rows of each group in a batch of so many."""
    shares = np.bincount(groups) if groups else np.ones(1, int)
    return shares * (batch_size // max(len(groups), 1))


def means(x: jax.Array, groups: Groups) -> jax.Array:
    """Means of [B, H, W, C] over rows and pixels: [G, C], or [C] of one group."""
    if count(groups) == 1:
        return jnp.mean(x, axis=(0, 1, 2))
    times, belongs = _repeats(groups)
    of_parts = jnp.mean(x.reshape(len(groups), -1, x.shape[-1]), axis=1)
    shares = (belongs / belongs.sum(axis=0)).astype(of_parts.dtype)

    def of_groups(of_parts: jax.Array) -> jax.Array:
        return jnp.sum(shares[:, :, None] * of_parts[:, None], axis=0)

    return row_parts.apart(of_groups, times, of_parts)


def on_rows(value: jax.Array, groups: Groups, batch_size: int) -> jax.Array:
    """What each row's group has, [B, 1, 1, C] of [G, C]; [C] of one group as it is."""
    if value.ndim == 1:
        return value
    times, belongs = _repeats(groups)
    belongs = np.repeat(belongs, batch_size // len(groups), axis=0)

    def of_rows(value: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(belongs[:, :, None], value, 0), axis=1)

    return row_parts.apart(of_rows, times, value)[:, None, None]


def _repeats(groups: Groups) -> tuple[int, np.ndarray]:
    """(n, [P / n, G / n] bool): as many runs of parts as have groups of their own, laid out alike.

    Sums over parts then stay within a run: none leaves the device that the run lies on.

    Examples:
      >>> times, belongs = _repeats((0, 1, 1, 2, 3, 3))
      >>> times, belongs.tolist()
      (2, [[True, False], [False, True], [False, True]])
    """
    numbers = np.asarray(groups)
    for times in range(count(groups), 0, -1):
        if len(groups) % times or count(groups) % times:
            continue
        each = count(groups) // times
        own = numbers.reshape(times, -1) - each * np.arange(times)[:, None]
        if (own == own[0]).all() and own.min() == 0 and own.max() == each - 1:
            break
    return times, own[0][:, None] == np.arange(each)
