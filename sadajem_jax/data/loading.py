"""Images of a data set in, by its spec and split: numpy arrays, put on a device by the trainer."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from sadajem_jax.data import digits, prepared
from sadajem_jax.data.specs import DataError, DatasetSpec

SHUFFLE = 20_230_618  # always the same images are held out, whatever the run's seed


class Images(NamedTuple):
    """A split: images uint8 [N, H, W, channels] and labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray


def load(spec: DatasetSpec, split: str, data_dir: str | None = None) -> Images:
    """Reads a split, downloading and preparing the data set first where it is not there yet.

    A folder may hold fewer images than the official split: what is there is returned, and the line
    on stderr says so.

    Args:
      spec: of the data set.
      split: "train" or "test".
      data_dir: the folder of prepared sets; None means TFDS_DATA_DIR, or ~/tensorflow_datasets.

    Returns:
      images uint8 [N, H, W, channels] and labels int32 [N], in the folder's own fixed order.

    Raises:
      DataError: where split, folder or source is not as it should be.
    """
    _check_split(spec, split)
    if spec.name == "digits":
        return Images(*digits.read(split))
    folder = prepared.locate(spec, data_dir, split) or prepared.prepare(spec, data_dir)
    return Images(*prepared.read(spec, folder, split))


def check_available(spec: DatasetSpec, data_dir: str | None = None, split: str = "train") -> None:
    """Raises DataError, within seconds, where `load` could not succeed; downloads nothing.

    A set that is neither prepared nor within reach is refused; digits never stand in for it.
    """
    _check_split(spec, split)
    if spec.name != "digits":
        prepared.locate(spec, data_dir, split)


def _check_split(spec: DatasetSpec, split: str) -> None:
    if split not in ("train", "test"):
        raise DataError(f"unknown split {split!r} of {spec.name}: expected 'train' or 'test'")


def hold_out(images: Images, val_size: int) -> tuple[Images, Images]:
    """(training images, validation images): a fixed shuffle's last `val_size` are held out."""
    if val_size == 0:
        return images, Images(images.images[:0], images.labels[:0])
    order = np.random.default_rng(SHUFFLE).permutation(len(images.labels))
    kept, held = np.sort(order[:-val_size]), np.sort(order[-val_size:])
    return (
        Images(images.images[kept], images.labels[kept]),
        Images(images.images[held], images.labels[held]),
    )


def checksum(images: Images) -> str:
    """CRC-32 of all images and labels, by which a run knows its training set again."""
    crc = zlib.crc32(np.ascontiguousarray(images.images).data)
    return f"{zlib.crc32(np.ascontiguousarray(images.labels).data, crc):08x}"
