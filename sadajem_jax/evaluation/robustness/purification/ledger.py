"""What an attack on a purified classifier knows of its images; all that has to be kept of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

STANDS, MISCLASSIFIED, BROKEN = "stands", "misclassified", "broken"


@dataclasses.dataclass
class Ledger:
    """Of N images; the arrays are written to.

    Attributes:
      points: [N, H, W, channels] float32 in [-1, 1], where each image stands.
      verdicts: [N] object: "stands", "misclassified" or "broken".
      broken_at: [N] int, the step of PGD whose point broke an image, or -1.
      tried: [N] bool, whom the stage under way has done with.
      stages: that are over: a look at the clean images, then the steps of PGD.
      refuted: candidates that were no breaks.
      gradients: that were taken, an image one, and
      blind: how many of them were zero, or no numbers.
    """

    points: np.ndarray
    verdicts: np.ndarray
    broken_at: np.ndarray
    tried: np.ndarray
    stages: int = 0
    refuted: int = 0
    gradients: int = 0
    blind: int = 0

    @classmethod
    def first(cls, clean: np.ndarray) -> Ledger:
        """Before anything is known."""
        number = len(clean)
        verdicts, broken_at = np.full(number, STANDS, object), np.full(number, -1)
        return cls(clean.copy(), verdicts, broken_at, np.zeros(number, bool))

    def arrays(self) -> dict[str, np.ndarray]:
        """As a file holds it: words as fixed strings."""
        found = {name: np.asarray(getattr(self, name)) for name in NAMES}
        return {**found, "verdicts": self.verdicts.astype(str)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Ledger:
        """From what `arrays` gave."""
        numbers = {name: value.item() for name, value in arrays.items() if not value.ndim}
        return cls(**{**arrays, **numbers, "verdicts": arrays["verdicts"].astype(object)})


NAMES = tuple(field.name for field in dataclasses.fields(Ledger))
