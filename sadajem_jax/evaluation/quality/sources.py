"""Images that are judged, and what they are compared with: each set read or drawn once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Advance, Progress
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.quality.labels import BUFFER, FRESH, label_of
from sadajem_jax.inference import image_files
from sadajem_jax.inference.model import Model
from sadajem_jax.inference.pictures import to_uint8
from sadajem_jax.randomness import run_key

Made = Callable[[Advance | None], tuple[np.ndarray, str]]
"""(progress) -> (images [N, H, W, channels] uint8, what they are in words)."""


class Source:
    """A set of images by name.

    Args:
      label: in the names of numbers; "" for what needs no word there.
      settings: what its images depend on, besides the model and its training images.
      make: the images; called once, when first needed.
      count: () -> how many there are, known before they are made.
      identify: () -> what they are known by besides the model; by default, by their content.
      cost: () -> of making them.

    Attributes:
      label, settings: as given.
    """

    def __init__(
        self,
        label: str,
        settings: Mapping[str, Any],
        make: Made,
        *,
        count: Callable[[], int] | None = None,
        identify: Callable[[], str] | None = None,
        cost: Callable[[], Cost] = Cost,
    ) -> None:
        self.label, self.settings = label, settings
        self._make, self._count, self._identify, self._cost = make, count, identify, cost
        self._made: tuple[np.ndarray, str] | None = None

    def images(self, progress: Advance | None = None) -> np.ndarray:
        """[N, H, W, channels] uint8; raises UserError if they are not to be had."""
        return self._there(progress)[0]

    @property
    def note(self) -> str:
        """What they are, in words."""
        return self._there(None)[1]

    @property
    def checksum(self) -> str:
        """Of the images, or of what they are drawn from; "" where that is the model alone."""
        return crc(self.images()) if self._identify is None else self._identify()

    def count(self) -> int:
        """How many there are."""
        return len(self.images()) if self._count is None else self._count()

    def cost(self) -> Cost:
        """Of making them, unless they are there."""
        return self._cost() if self._made is None else Cost()

    def _there(self, progress: Advance | None) -> tuple[np.ndarray, str]:
        if self._made is None:
            self._made = self._make(progress)
        return self._made


def of_model(model: Model) -> Source:
    """The images of its replay buffer."""
    n = len(model.buffer)

    def make(progress: Advance | None) -> tuple[np.ndarray, str]:
        return to_uint8(model.buffer), f"the {n:,} images of the replay buffer"

    return Source("", {"images": BUFFER}, make, count=lambda: n, identify=lambda: "")


def fresh(model: Model, n: int) -> Source:
    """New images: those that --mode=sample --source=fresh draws of this checkpoint."""

    def make(progress: Advance | None) -> tuple[np.ndarray, str]:
        key = jax.random.fold_in(run_key(model.seed), model.step)
        images = to_uint8(model.sample(key, n, num_steps=_length(model), progress=progress))
        return images, f"{n:,} new images, chains of {_length(model):,} steps"

    def cost() -> Cost:
        groups = -(-n // model.group_size)
        return Cost(gradients=groups * model.group_size * _length(model))

    def starts() -> str:
        return crc(model.training_images.images)

    settings = {"images": FRESH, "n": n, "seed": model.seed, **model.generator.described}
    return Source(FRESH, settings, make, count=lambda: n, identify=starts, cost=cost)


def of_training(model: Model) -> Source:
    """The images that it was trained on."""

    def make(progress: Advance | None) -> tuple[np.ndarray, str]:
        images = model.training_images.images
        return images, f"the {len(images):,} training images"

    return Source("", {"against": "training images"}, make)


def of_file(
    name: str, model: Model, taken: Sequence[str] = (), role: str = "images", prefix: str = ""
) -> Source:
    """The images of a folder or an .npz, brought to the shape of the model's.

    Args:
      name: its path.
      model: gives the shape.
      taken: labels that others have.
      role: of the set, in the settings.
      prefix: of its label.
    """

    def make(progress: Advance | None) -> tuple[np.ndarray, str]:
        with Progress(f"reading {name}") as reading:  # no piece is under way where it is compared
            return image_files.load(name, model.image_shape, reading)

    return Source(prefix + label_of(name, taken), {role: name}, make)


def crc(images: np.ndarray) -> str:
    """CRC-32 of images."""
    return f"{zlib.crc32(np.ascontiguousarray(images).data):08x}"


def _length(model: Model) -> int:
    try:
        return model.length()
    except ValueError as error:
        raise UserError(f"new images cannot be drawn: {error}") from error
