"""Which of the known targets the card at hand is."""

from __future__ import annotations

from sadajem_jax.gpu_program import targets

MARKS = {"h100": "H100", "h200": "H200", "a100": "A100", "b200": "B200", "rtx4090": "RTX 4090"}


def target_of(device_kind: str) -> str | None:
    """The target's name by the card's, None for one that is not known.

    Examples:
      >>> target_of("NVIDIA H100 80GB HBM3"), target_of("cpu")
      ('h100', None)
    """
    found = [name for name in targets.names() if MARKS[name] in device_kind]
    return found[0] if found else None
