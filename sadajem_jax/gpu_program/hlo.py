"""Reads the text of a compiled program: its computations, their instructions, the bytes of shapes.

The text is what `Compiled.as_text()` of jax gives: XLA's HLO after scheduling, one line an
instruction.
"""

from __future__ import annotations

import functools
import math
import re
from typing import NamedTuple

ITEM_BYTES = {
    "pred": 1, "s4": 1, "u4": 1, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1,
    "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4, "f32": 4,
    "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16, "token": 0,
}  # fmt: skip

_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_HEADER = re.compile(r"^(ENTRY )?%?(\S+) \(.*\) -> .*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%(\S+) = (.*?) ([a-z][a-z0-9-]*)\(([^)]*)\)(.*)$")
_NAME = re.compile(r"%([\w.\-]+)")


class Instruction(NamedTuple):
    """One line of a computation.

    Attributes:
      name: unique in its computation.
      shape: of its result, as text: f32[2,3]{1,0}, or a tuple of such.
      opcode: fusion, custom-call, while, ...
      operands: names of instructions of the same computation; of a parameter its number.
      attributes: the rest of the line.
      is_root: whether it is the computation's result.
    """

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    is_root: bool

    def attribute(self, name: str) -> str | None:
        """The word after `name=`, without a percent sign; None where there is none."""
        found = re.search(rf'\b{name}="?%?([^\s,"]+)', self.attributes)
        return found[1] if found else None


Computation = dict[str, Instruction]
"""name -> instruction, in the order of the schedule."""


class Program(NamedTuple):
    """A compiled program.

    Attributes:
      computations: by name.
      entry: the name of the one that is run.
    """

    computations: dict[str, Computation]
    entry: str


def parse(text: str) -> Program:
    """The program of a text.

    Raises:
      ValueError: if it has no entry.
    """
    computations: dict[str, Computation] = {}
    current: Computation = {}
    entry = None
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = computations[header[2]] = {}
            entry = header[2] if header[1] else entry
        elif found := _LINE.match(line):
            root, name, shape, opcode, operands, rest = found.groups()
            names = tuple(_NAME.findall(operands)) if opcode != "parameter" else (operands,)
            current[name] = Instruction(name, shape, opcode, names, rest, bool(root))
    if entry is None:
        raise ValueError("expected the text of a compiled program, found no ENTRY computation")
    return Program(computations, entry)


def arrays(shape: str) -> list[tuple[str, tuple[int, ...]]]:
    """(dtype, dimensions) of a shape, or of each part of a tuple.

    Examples:
      >>> arrays("(bf16[8,16]{1,0}, u8[0]{0})")
      [('bf16', (8, 16)), ('u8', (0,))]
    """
    return [(d, tuple(map(int, filter(None, n.split(","))))) for d, n in _ARRAY.findall(shape)]


@functools.cache
def size(shape: str) -> int:
    """Bytes of a shape, or of all the parts of a tuple.

    Examples:
      >>> size("(bf16[8,16]{1,0}, f32[], pred[3])")
      263
    """
    return sum(ITEM_BYTES[dtype] * math.prod(dims) for dtype, dims in arrays(shape))
