"""The cards that programs are compiled for and predicted on: a file each, with its sources."""

from __future__ import annotations

import pathlib
import tomllib
from typing import NamedTuple

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import nearest

FOLDER = pathlib.Path(__file__).parent / "targets"


class Target(NamedTuple):
    """A card, by its data sheet.

    Attributes:
      name: as it is sold.
      memory_bytes: of the card.
      bytes_per_second: of its memory.
      bfloat16_tflops: peak of its matrix units, dense, in 10^12 operations a second.
      tf32_tflops: the same of float32 operands rounded to TF32.
      link_bytes_per_second: to its neighbours in the same machine, each way.
      xla: the card as XLA's compiler takes it, a GpuTargetConfigProto in text form.
    """

    name: str
    memory_bytes: int
    bytes_per_second: float
    bfloat16_tflops: float
    tf32_tflops: float
    link_bytes_per_second: float
    xla: str

    def flop_per_second(self, dtype: str) -> float:
        """Peak rate of convolutions of operands of that type, as XLA names it: bf16, f16, f32."""
        tflops = self.bfloat16_tflops if dtype in ("bf16", "f16") else self.tf32_tflops
        return tflops * 1e12


def names() -> list[str]:
    """The targets there are."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, flag: str = "--target") -> Target:
    """The target of that name, small letters or capitals.

    Args:
      name: of a card.
      flag: what it was given with.

    Raises:
      UserError: names those there are.
    """
    if name.lower() not in names():
        known = ", ".join(names())
        raise UserError(f"{flag} must be one of {known}, found {name!r}{nearest(name, names())}")
    return Target(**tomllib.loads((FOLDER / f"{name.lower()}.toml").read_text()))
