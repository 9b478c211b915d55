"""What a measure returns: a number, and of how many images it is."""

from __future__ import annotations

from typing import NamedTuple


class Measured(NamedTuple):
    """A measure's value.

    Attributes:
      value: the number.
      n: generated images that it was taken on; most measures depend on it.
      std: over splits or subsets, where there are some.
    """

    value: float
    n: int
    std: float | None = None
