"""The parts of an evaluation, by name, and what a part is made of.

A part is a file of this folder with a function `pieces(asked) -> Iterator[Piece]`. This file costs
little to import: the command line checks names against it.
"""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sadajem_jax.workdir.figure import Figure

if TYPE_CHECKING:
    from sadajem_jax.console.progress import Advance
    from sadajem_jax.evaluation.passes import Passes
    from sadajem_jax.inference.model import Model

NAMES = ("accuracy", "calibration", "ood", "samples", "curves")  # in the order they are done


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
    """

    name: str
    settings: Mapping[str, Any]
    run: Callable[[Advance], Iterator[Item]]
    checksum: Callable[[], str | None] = _no_checksum
    gradient: bool = False
    label: str | None = None
    order: int | None = None
    unit: str = "images"

    @property
    def part(self) -> str:
        """The part that it belongs to."""
        return self.name.split("/")[0]


class Asked(NamedTuple):
    """What an evaluation was asked for.

    Attributes:
      model: what is evaluated.
      passes: its passes over the images.
      workdir: W of its run.
      num_bins: of the expected calibration error.
      val_size: images held out of the training.
      ood: names of the out-of-distribution sets.
      data_dir: the folder of prepared data sets; None: where tensorflow-datasets keeps them.
    """

    model: Model
    passes: Passes
    workdir: pathlib.Path
    num_bins: int
    val_size: int
    ood: tuple[str, ...]
    data_dir: str | None

    @property
    def on_test(self) -> dict[str, Any]:
        """The settings of all that is judged on the test set."""
        return {"data": self.model.spec.name, "split": "test", "precision": "float32, highest"}

    @property
    def test_size(self) -> Size:
        """Of the test set."""
        return Size(len(self.passes.test.labels), self.model.spec.num_test)


def of(name: str) -> Callable[[Asked], Iterator[Piece]]:
    """The maker of a part's pieces; the part is imported now."""
    return importlib.import_module(f"sadajem_jax.evaluation.{name}").pieces
