"""The parts of an evaluation, by name, and what a part is made of.

A part is a file below this folder with a function `pieces(asked) -> Iterator[Piece]`. This file
costs little to import: the command line checks names against it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sadajem_jax.console.errors import UserError
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
        return part_of(self.name)


def of(name: str) -> Callable[[Asked], Iterator[Piece]]:
    """The maker of a part's pieces; the part is imported now."""
    return importlib.import_module(f"sadajem_jax.evaluation.{MODULES[name]}").pieces


def part_of(name: str) -> str:
    """The part that a piece, or a word of `eval.only`, belongs to."""
    return name.partition("/")[0]


def of_named(only: Sequence[str], asked: Asked) -> list[Piece]:
    """All pieces of the parts that `only` names, or of all parts, in the order they are done."""
    named = {part_of(word) for word in only} or NAMES
    return [piece for name in NAMES if name in named for piece in of(name)(asked)]


def chosen(only: Sequence[str], pieces: Sequence[Piece]) -> list[Piece]:
    """Those of `pieces` that `only` asks for.

    Args:
      only: parts ("ood"), pieces ("ood/svhn_cropped"), or what several begin with
        ("robustness/autoattack"); empty: all.
      pieces: of the parts that it names.

    Raises:
      UserError: if a word asks for none.
    """
    for word in only:
        if not any(_asks_for(word, piece) for piece in pieces):
            there = ", ".join(piece.name for piece in pieces if piece.part == part_of(word))
            raise UserError(
                f"config.eval.only must name parts or pieces of them, found {word!r}; "
                f"{part_of(word)} is made of {there}"
            )
    return [p for p in pieces if not only or any(_asks_for(word, p) for word in only)]


def _asks_for(word: str, piece: Piece) -> bool:
    return f"{piece.name}/".startswith(f"{word}/")
