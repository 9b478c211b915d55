"""What a program launches on the GPU: its kernels, and how often a step runs each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from sadajem_jax.gpu_program import convolutions, traffic
from sadajem_jax.gpu_program.convolutions import Convolution
from sadajem_jax.gpu_program.hlo import Computation, Instruction, Program, size
from sadajem_jax.gpu_program.traffic import Traffic

# These name, bind or wait for what others compute; they launch nothing.
NO_KERNEL = {
    "parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "while",
    "conditional", "call", "partition-id", "replica-id", "opt-barrier",
}  # fmt: skip
COLLECTIVES = (
    "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute",
    "collective-broadcast",
)  # fmt: skip
MOVES = ("copy", "transpose")  # change the place or the order of values, and compute nothing
_THROUGH = ("bitcast", "convert", "reshape")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Kernel(NamedTuple):
    """One launch.

    Attributes:
      name: of the instruction.
      depth: loops around it: 0 once a block of steps, 1 once a step, 2 in a loop of the step.
      trips: how often the loops inside the step run it.
      traffic: its bytes.
      convolution: what it is, if it is one.
      collective: which message between devices it is, "" for none.
      message_bytes: of that message: what every device has in the end (of a reduce-scatter, what
        it had before).
      is_move: whether it only copies or transposes (and maybe casts).
      is_sum: whether it sums over rows or pixels (or takes another reduction).
    """

    name: str
    depth: int
    trips: int
    traffic: Traffic
    convolution: Convolution | None
    collective: str
    message_bytes: int
    is_move: bool
    is_sum: bool = False


def of(program: Program) -> list[Kernel]:
    """The kernels of a block of steps, as `train_step.looped` makes it.

    The outermost loop is that over the steps, whose length the host says; those inside it have a
    length that XLA knows.

    Raises:
      ValueError: if a loop inside a step has no known length.
    """
    return list(_of_computation(program, program.entry, 0, 1))


def _of_computation(program: Program, name: str, depth: int, trips: int) -> Iterator[Kernel]:
    around = program.computations[name]
    for instruction in around.values():
        if instruction.opcode == "while":
            body = instruction.attribute("body") or ""
            times = _trips(instruction) if depth else 1
            yield from _of_computation(program, body, depth + 1, trips * times)
        elif instruction.opcode == "call":  # a run of kernels that is launched as one CUDA graph
            body = instruction.attribute("to_apply") or ""
            yield from _of_computation(program, body, depth, trips)
        elif instruction.opcode == "conditional":
            raise ValueError(f"expected fusions and loops, found a {instruction.opcode}")
        elif instruction.opcode not in NO_KERNEL and not instruction.opcode.endswith("-done"):
            yield _kernel(program, around, instruction, depth, trips)


def _trips(loop: Instruction) -> int:
    found = _TRIPS.search(loop.attributes)
    if found is None:
        raise ValueError(f"expected a loop of known length inside a step, found {loop.name}")
    return int(found[1])


def _kernel(
    program: Program, around: Computation, instruction: Instruction, depth: int, trips: int
) -> Kernel:
    body = program.computations.get(instruction.attribute("calls") or "")
    collective = next((c for c in COLLECTIVES if instruction.opcode.startswith(c)), "")
    return Kernel(
        name=instruction.name,
        depth=depth,
        trips=trips,
        traffic=traffic.of(instruction, around, body),
        convolution=convolutions.of(instruction, around),
        collective=collective,
        message_bytes=_message_bytes(instruction, around) if collective else 0,
        is_move=_moves(instruction, body),
        is_sum=body is not None and any(i.opcode == "reduce" for i in body.values()),
    )


def _message_bytes(instruction: Instruction, around: Computation) -> int:
    given = sum(size(around[name].shape) for name in instruction.operands)
    return max(given, traffic.written(instruction))


def _moves(instruction: Instruction, body: Computation | None) -> bool:
    """Whether copies, transposes and casts are all that it does."""
    if body is None:
        return instruction.opcode in MOVES
    opcodes = {i.opcode for i in body.values()} - {"parameter"}
    return bool(opcodes & set(MOVES)) and opcodes <= {*MOVES, *_THROUGH}
