"""Which form of a program suits the backend, asked here and nowhere else."""

from __future__ import annotations

import jax


def on_cpu() -> bool:
    """Whether programs run on the CPU by default."""
    return jax.default_backend() == "cpu"


def unrolls() -> bool:
    """Whether chains are unrolled and steps dispatched one by one, or both are loops.

    Unrolled on the CPU, because XLA:CPU's convolution gradients are 10 to 50 times slower inside a
    loop; looped elsewhere. The forms agree to rounding, not to the bit: a run keeps to one.
    """
    return on_cpu()
