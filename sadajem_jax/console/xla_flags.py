"""What XLA is asked for by the environment, which it reads once, when JAX first meets a device."""

from __future__ import annotations

import os

VARIABLE = "XLA_FLAGS"
ROUND_AS_WRITTEN = "--xla_allow_excess_precision=false"


def add(*flags: str) -> None:
    """Adds flags to XLA_FLAGS; one whose name already stands there is the user's, and stays.

    Args:
      *flags: as "--name=value", of names that every supported jaxlib knows: an unknown one ends
        the process.

    Examples:
      >>> import os
      >>> os.environ["XLA_FLAGS"] = "--b=2"
      >>> add("--a=1", "--b=3")
      >>> os.environ.pop("XLA_FLAGS")
      '--b=2 --a=1'
    """
    given = os.environ.get(VARIABLE, "").split()
    names = {word.partition("=")[0] for word in given}
    wanted = [flag for flag in flags if flag.partition("=")[0] not in names]
    os.environ[VARIABLE] = " ".join(given + wanted)


def round_as_written(*dtypes: str) -> None:
    """Where one of the types is bfloat16: what is computed in it is rounded to it, on any device.

    XLA may otherwise keep float32 where the program says bfloat16, and on a CPU does: hardly any of
    a convolution's outputs were bfloat16 values. A GPU's program has the same kernels and bytes
    with the flag as without (docs/performance.md).
    """
    if "bfloat16" in dtypes:
        add(ROUND_AS_WRITTEN)
