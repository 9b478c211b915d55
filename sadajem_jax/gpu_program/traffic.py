"""Bytes that a kernel moves: all of its operands and results, or what of them it touches.

A kernel that gathers 64 images of 50,000, or writes 64 rows into a buffer in place, has the whole
array as operand and touches a small part: the rows that it reads or writes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sadajem_jax.gpu_program.hlo import Computation, Instruction, size

PICKS = ("gather", "dynamic-slice")  # read a part of their first operand
UPDATES = {"dynamic-update-slice": 1, "scatter": 2}  # write a part: the operand that holds it


class Traffic(NamedTuple):
    """Bytes of a kernel.

    Attributes:
      whole: of its operands and results.
      touched: of what it reads and writes of them.
    """

    whole: int
    touched: int


def of(kernel: Instruction, around: Computation, body: Computation | None) -> Traffic:
    """The bytes of a kernel.

    Args:
      kernel: a fusion, a library call, a copy.
      around: the computation that it stands in.
      body: what a fusion computes; None for other kernels.
    """
    operands = [size(around[name].shape) for name in kernel.operands]
    whole = written(kernel) + sum(operands)
    if body is None:
        return Traffic(whole, whole)
    parameters = _parameters(body)
    reads = sum(_read(parameters[i], body) for i in range(len(operands)))
    return Traffic(whole, reads + _stored(_root(body), body))


def written(kernel: Instruction) -> int:
    """Bytes of its result; a -start's result holds its operands too, and maybe a context."""
    if not kernel.opcode.endswith("-start") or not kernel.shape.startswith("(("):
        return size(kernel.shape)
    after = kernel.shape.index(")") + 1
    return size(re.sub(r"u32\[\]", "", kernel.shape[after:]))


def _parameters(body: Computation) -> dict[int, Instruction]:
    return {int(i.operands[0]): i for i in body.values() if i.opcode == "parameter"}


def _root(body: Computation) -> Instruction:
    return next(i for i in body.values() if i.is_root)


def _read(array: Instruction, body: Computation) -> int:
    """Bytes read of an array inside a fusion: all, unless every user picks or updates a part."""
    parts = [_part(array, user, body) for user in body.values() if array.name in user.operands]
    whole = size(array.shape)
    return whole if None in parts else min(whole, sum(filter(None, parts)))


def _part(array: Instruction, user: Instruction, body: Computation) -> int | None:
    """Bytes that one user reads of an array; None: all of them."""
    is_first = user.operands[0] == array.name
    if user.opcode == "bitcast":
        return _read(user, body)
    if user.opcode in PICKS and is_first:
        return size(user.shape)
    if user.opcode in UPDATES and is_first:
        return 0  # the rest of it stays where it is
    return None


def _stored(result: Instruction, body: Computation) -> int:
    """Bytes written by what ends a fusion."""
    if result.opcode == "tuple":
        return sum(_stored(body[name], body) for name in result.operands)
    if result.opcode == "bitcast":
        return _stored(body[result.operands[0]], body)
    if result.opcode in UPDATES:
        return size(body[result.operands[UPDATES[result.opcode]]].shape)
    return size(result.shape)
