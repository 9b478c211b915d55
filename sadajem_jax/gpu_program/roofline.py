"""The time of a program on a card, predicted from its kernels; the constants are stated here.

A kernel takes the longest of its operations at `PEAK_SHARE` of the matrix units' peak, its bytes at
a share of the memory's bandwidth (a smaller one for sums) and `KERNEL_SECONDS`, and then
`LAUNCH_SECONDS`; kernels follow one another. A message takes its bytes over the links, plus a
latency. The constants of kernels are fitted to one profile and two times of a WRN-28-10 step on an
H100 (docs/performance.md); no other card and no message has been timed. Operations outside the
convolutions are not counted (the head's product is less than a thousandth of a step). What this
leaves out: convolutions with few channels or few tiles stay below that share, cuDNN's work space,
and what the L2 cache keeps between two kernels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sadajem_jax.gpu_program.kernels import Kernel
from sadajem_jax.gpu_program.targets import Target

PEAK_SHARE = 0.55  # 540 of an H100's 989 TFLOP/s in bfloat16, 270 of its 495 in TF32
BANDWIDTH_SHARE = 0.81  # 2.7 of an H100's 3.35 TB/s
SUM_SHARE = 0.4  # of kernels that sum over rows and pixels, as XLA writes them
KERNEL_SECONDS = 2.0e-6  # the least that a kernel runs
LAUNCH_SECONDS = 1.4e-6  # between two kernels of one stream, in a CUDA graph or out of it
MESSAGE_SECONDS = 10e-6  # of a collective, however small, within a machine
FAR_SECONDS = 20e-6  # more, between machines
BETWEEN_MACHINES = 50e9  # bytes a second each way and card: InfiniBand NDR, 400 Gbit/s
MACHINE = 8  # cards


class Seconds(NamedTuple):
    """A step's predicted time, by what it goes into.

    Attributes:
      convolutions: their own, without launches.
      others: the other kernels'.
      launches: of all kernels.
      messages: between devices.
    """

    convolutions: float
    others: float
    launches: float
    messages: float = 0.0

    @property
    def total(self) -> float:
        """All of it, one after the other."""
        return sum(self)


def of(kernels: Iterable[Kernel], target: Target, devices: int = 1) -> Seconds:
    """The predicted time of a step: kernels that run once a block are left out.

    Args:
      kernels: of the program of one device.
      target: the card.
      devices: how many share the work.
    """
    convolutions = others = launches = messages = 0.0
    for kernel in kernels:
        if kernel.depth == 0:
            continue
        launches += kernel.trips * LAUNCH_SECONDS
        if kernel.collective:
            size = kernel.message_bytes
            messages += kernel.trips * message(kernel.collective, size, target, devices)
        elif kernel.convolution:
            convolutions += kernel.trips * _seconds(kernel, target)
        else:
            others += kernel.trips * _seconds(kernel, target)
    return Seconds(convolutions, others, launches, messages)


def _seconds(kernel: Kernel, target: Target) -> float:
    moved = memory(kernel.traffic.touched, target, is_sum=kernel.is_sum)
    made = kernel.convolution
    done = matrix(made.flop, made.dtype, target) if made else 0.0
    return max(moved, done, KERNEL_SECONDS)


def memory(size: float, target: Target, *, is_sum: bool = False) -> float:
    """Seconds that bytes take to and from the card's memory, in a sum or in another kernel."""
    share = SUM_SHARE if is_sum else BANDWIDTH_SHARE
    return size / (share * target.bytes_per_second)


def matrix(flop: float, dtype: str, target: Target) -> float:
    """Seconds that a convolution's operations take; the type as XLA names it."""
    return flop / (PEAK_SHARE * target.flop_per_second(dtype))


def message(collective: str, size: float, target: Target, devices: int) -> float:
    """Seconds of a message of that many bytes between devices.

    In a ring of n each sends (n - 1) / n of it; twice for an all-reduce, which scatters and
    gathers. Of several machines each card then sends its part to those in its place elsewhere, over
    a network card of its own.
    """
    rounds = 2 if collective == "all-reduce" else 1
    near, machines = min(devices, MACHINE), max(1, devices // MACHINE)
    within = rounds * size * (near - 1) / near / target.link_bytes_per_second
    between = rounds * size / MACHINE * (machines - 1) / machines / BETWEEN_MACHINES
    return latency(devices) + within + between


def latency(devices: int) -> float:
    """Seconds of a message without bytes."""
    return MESSAGE_SECONDS + (FAR_SECONDS if devices > MACHINE else 0.0)
