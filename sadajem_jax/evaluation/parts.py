"""The parts of an evaluation, by name, and what a part is made of.

A part is a file below this folder with a function `pieces(asked) -> Iterator[Piece]`. This file
costs little to import: the command line checks names against it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sadajem_jax.workdir.figure import Figure

if TYPE_CHECKING:
    from sadajem_jax.console.progress import Advance
    from sadajem_jax.evaluation.asked import Asked
    from sadajem_jax.evaluation.costs import Cost

MODULES = {  # in the order they are done
    "accuracy": "accuracy",
    "calibration": "calibration",
    "ood": "ood",
    "samples": "samples",
    "quality": "quality.part",
    "robustness": "robustness.part",
    "landscape": "landscape.part",
    "curves": "curves",
}
NAMES = tuple(MODULES)


class Size(NamedTuple):
    """How many images a piece looked at.

    Attributes:
      images: how many.
      official: how many the official split has; None where there is none.
    """

    images: int
    official: int | None = None

    def note(self, name: str) -> Iterator[str]:
        """Says so where a folder holds fewer images than the official split of `name`."""
        if self.official is not None and self.images != self.official:
            yield f"{self.images:,} of the {self.official:,} official test images of {name}."


Item = tuple[str, float] | Figure | Size | str
"""What a piece yields: a number by name, a figure, its size, or a note on how to read them."""


def _no_checksum() -> str | None:
    return None


class Piece(NamedTuple):
    """A part, or one set of it.

    Attributes:
      name: "accuracy", "ood/svhn_cropped", ...
      settings: what its numbers depend on besides the checkpoint.
      run: (progress) -> its items.
      checksum: () -> of the images that its numbers depend on, or None; raises UserError where
        they are not to be had. Asked only if nothing else calls for the piece to be done.
      gradient: whether it takes the model's gradient on the test set.
      label: of its set, and `order`, the place where that was asked for.
      order: see `label`.
      unit: what its progress counts, or "" where passes differ.
      cost: () -> what it takes at most; asked only before it is done.
    """

    name: str
    settings: Mapping[str, Any]
    run: Callable[[Advance], Iterator[Item]]
    checksum: Callable[[], str | None] = _no_checksum
    gradient: bool = False
    label: str | None = None
    order: int | None = None
    unit: str = "images"
    cost: Callable[[], Cost] | None = None

    @property
    def part(self) -> str:
        """The part that it belongs to."""
        return self.name.split("/")[0]


def of(name: str) -> Callable[[Asked], Iterator[Piece]]:
    """The maker of a part's pieces; the part is imported now."""
    return importlib.import_module(f"sadajem_jax.evaluation.{MODULES[name]}").pieces
