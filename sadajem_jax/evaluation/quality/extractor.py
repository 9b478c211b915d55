"""What sees features in images: a network with its weights, applied to a data set in batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation import flops
from sadajem_jax.evaluation.quality import archive
from sadajem_jax.evaluation.sharded import PerRow, ShardedRows


class Extractor:
    """Features of any number of images, on all local devices, in float32 at `highest` precision.

    Args:
      name: of the network; measures made with it are named after it.
      per_image: pure: (variables, images [B, H, W, channels] of 0..255, uint8 or floating point)
        -> {"features": [B, D], "logits": [B, C]}.
      variables: of the network, host-local.
      version: of what `per_image` does with the variables (resize, scale): another one, another
        fingerprint.
      batch_size: images a device takes at a time.
      channels: that images must have; None: 1 or 3.
      devices: all local ones by default.

    Attributes:
      name: as given.
      fingerprint: of name, version and weights: equal fingerprints give equal features.
    """

    def __init__(
        self,
        name: str,
        per_image: PerRow,
        variables: Any,
        *,
        version: str,
        batch_size: int,
        channels: int | None = None,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        self.name = name
        self.fingerprint = f"{name}-{version}-{archive.checksum(variables)}"
        self._per_image, self._variables, self._channels = per_image, variables, channels
        self._rows = ShardedRows(per_image, batch_size=batch_size, devices=devices)
        self._seconds: dict[tuple[int, ...], float] = {}

    def __call__(
        self, images: np.ndarray, progress: Advance | None = None
    ) -> dict[str, np.ndarray]:
        """What the network makes of each image.

        Args:
          images: [N, H, W, channels], 0..255, uint8 or floating point (not rounded here).
          progress: is told how many images are done.

        Returns:
          {"features": [N, D], "logits": [N, C]} in the images' order, on the host.

        Raises:
          ValueError: if there is none, or they have another shape, kind or range.
          UserError: if the network was trained on images of other channels.
        """
        check(images)
        if self._channels not in (None, images.shape[-1]):
            raise UserError(
                f"{self.name} sees images of {self._channels} channels, found "
                f"{list(images.shape)}; bring them to its shape"
            )
        return self._rows(self._variables, images, progress)

    def dim(self, image_shape: tuple[int, ...]) -> int:
        """D of images (H, W, channels), found without computing any."""
        images = jax.ShapeDtypeStruct((1, *image_shape), np.uint8)
        found = jax.eval_shape(self._per_image, self._variables, images)
        return int(found["features"].shape[-1])

    def flop(self, image_shape: tuple[int, ...]) -> int:
        """Operations of one image (H, W, channels); see `evaluation.flops`."""
        images = jax.ShapeDtypeStruct((1, *image_shape), np.uint8)
        return flops.count(self._per_image, self._variables, images).flop

    def seconds(self, image_shape: tuple[int, ...]) -> float:
        """Seconds of one image (H, W, channels) here: of a second batch, as the first compiles."""
        if image_shape not in self._seconds:
            batch = len(self._rows.devices) * self._rows.batch_size
            images = np.zeros((batch, *image_shape), np.uint8)
            self(images)
            start = time.perf_counter()
            self(images)
            self._seconds[image_shape] = (time.perf_counter() - start) / batch
        return self._seconds[image_shape]


def check(images: np.ndarray) -> None:
    """Raises ValueError unless images are [N, H, W, 1 or 3] of 0..255."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"expected images [N, H, W, 1 or 3], found {list(images.shape)}")
    if images.dtype != np.uint8:
        low, high = (images.min(), images.max()) if images.size else (0, 0)
        if images.dtype.kind != "f" or not (low >= 0 and high <= 255):
            raise ValueError(
                f"expected uint8 or floating point of 0..255, found {images.dtype} of {low}..{high}"
            )
