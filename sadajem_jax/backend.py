"""What suits the backend, asked here and nowhere else: a program's form, the host beside it."""

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


def host() -> jax.Device:
    """The host's own CPU as a device: what is drawn there waits for no accelerator.

    Where JAX_PLATFORMS names the accelerator alone, there is none, and it is the accelerator:
    threefry's bits are the same on either.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX's answer where a backend is not there
        return jax.local_devices()[0]
