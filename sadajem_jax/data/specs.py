"""What the program knows of a data set before anything of it is read: one spec, passed down."""

from __future__ import annotations

from typing import NamedTuple

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import nearest


class DataError(UserError):
    """A data set cannot be had. One line: what was expected, what was found, what to do."""


class DatasetSpec(NamedTuple):
    """What a run may assume of its data set; the counts are the official ones.

    Attributes:
      name: as config.data.name has it.
      image_size: pixels of a side.
      channels: 1 or 3.
      num_classes: C.
      num_train: images of the official training split.
      num_test: images of the official test split.
      class_names: of the C classes.
      mirrors: whether a mirrored image is still one of its class; digits and house numbers are not.
    """

    name: str
    image_size: int
    channels: int
    num_classes: int
    num_train: int
    num_test: int
    class_names: tuple[str, ...]
    mirrors: bool

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, channels)."""
        return self.image_size, self.image_size, self.channels

    def num_images(self, split: str) -> int:
        """Images of an official split, "train" or "test"."""
        return self.num_train if split == "train" else self.num_test


_TEN_DIGITS = tuple("0123456789")

_CIFAR10_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_NAMES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse
    mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
    porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
    tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

_SPECS = {
    spec.name: spec
    for spec in (
        DatasetSpec("cifar10", 32, 3, 10, 50_000, 10_000, tuple(_CIFAR10_NAMES.split()), True),
        DatasetSpec("cifar100", 32, 3, 100, 50_000, 10_000, tuple(_CIFAR100_NAMES.split()), True),
        DatasetSpec("svhn_cropped", 32, 3, 10, 73_257, 26_032, _TEN_DIGITS, False),
        DatasetSpec("digits", 8, 1, 10, 1_500, 297, _TEN_DIGITS, False),
    )
}
NAMES = tuple(_SPECS)


def get_spec(name: str) -> DatasetSpec:
    """The spec of a data set by its name.

    Raises:
      DataError: if there is none, with the known and the nearest names.
    """
    if name in _SPECS:
        return _SPECS[name]
    known = ", ".join(NAMES)
    raise DataError(f"unknown data set {name!r}{nearest(str(name), NAMES)}: expected {known}")
