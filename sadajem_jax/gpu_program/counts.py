"""The counts of a step's program: launches, bytes, convolutions, messages between devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sadajem_jax.gpu_program.kernels import Kernel

SMALL = 1_000_000  # bytes: a kernel that moves less is all launch


def of(kernels: Sequence[Kernel], num_sgld_steps: int) -> dict[str, Any]:
    """The counts of one step by name; the chain's are part of the step's.

    Bytes are those of whole operands and results; `gigabytes_touched_per_step` counts the rows
    that are picked or updated instead of the array that they lie in.

    Args:
      kernels: of a program whose step loops over the chain and nothing else (no micro-batches).
      num_sgld_steps: K.
    """
    step = [kernel for kernel in kernels if kernel.depth]
    chain = [kernel for kernel in step if kernel.depth > 1]
    once = [kernel for kernel in kernels if not kernel.depth]
    convolutions = [kernel for kernel in step if kernel.convolution]
    return {
        "kernels_per_step": launches(step),
        "small_kernels_per_step": launches(k for k in step if k.traffic.whole < SMALL),
        "kernels_per_chain_step": launches(chain) // num_sgld_steps,
        "gigabytes_per_step": gigabytes(step),
        "gigabytes_per_chain_step": gigabytes(chain) / num_sgld_steps,
        "gigabytes_touched_per_step": sum(k.trips * k.traffic.touched for k in step) / 1e9,
        "convolution_gigabytes": gigabytes(convolutions),
        "convolution_tflop": sum(k.trips * _flop(k) for k in convolutions) / 1e12,
        "convolutions": by_type_and_kind(convolutions),
        "filter_gradients_in_chain": launches(k for k in chain if _is_filter_gradient(k)),
        "layout_copies": launches(k for k in step if k.is_move),
        "collectives": {
            "in_chain": messages(chain),
            "outside_chain": messages(k for k in step if k.depth == 1),
        },
        "kernels_per_block": launches(once),
        "gigabytes_per_block": gigabytes(once),
    }


def launches(kernels: Iterable[Kernel]) -> int:
    """How often they are run."""
    return sum(kernel.trips for kernel in kernels)


def gigabytes(kernels: Iterable[Kernel]) -> float:
    """Their whole operands and results, in 10^9 bytes."""
    return sum(kernel.trips * kernel.traffic.whole for kernel in kernels) / 1e9


def by_type_and_kind(kernels: Iterable[Kernel]) -> dict[str, dict[str, int]]:
    """Runs of convolutions: dtype -> kind -> count."""
    found: dict[str, Counter[str]] = {}
    for kernel in kernels:
        if made := kernel.convolution:
            found.setdefault(made.dtype, Counter())[made.kind] += kernel.trips
    return {dtype: dict(sorted(kinds.items())) for dtype, kinds in sorted(found.items())}


def messages(kernels: Iterable[Kernel]) -> dict[str, dict[str, int]]:
    """Collectives: kind -> how many, and their bytes together."""
    found: dict[str, dict[str, int]] = {}
    for kernel in kernels:
        if kernel.collective:
            entry = found.setdefault(kernel.collective, {"count": 0, "bytes": 0})
            entry["count"] += kernel.trips
            entry["bytes"] += kernel.trips * kernel.message_bytes
    return found


def _flop(kernel: Kernel) -> int:
    return kernel.convolution.flop if kernel.convolution else 0


def _is_filter_gradient(kernel: Kernel) -> bool:
    return kernel.convolution is not None and kernel.convolution.kind == "filter_gradient"
