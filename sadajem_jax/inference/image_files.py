"""Images as people keep them, read: an .npz file, a folder, a set of tensorflow-datasets."""

from __future__ import annotations

import io
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sadajem_jax.console.errors import first_line
from sadajem_jax.console.progress import Advance
from sadajem_jax.data import prepared
from sadajem_jax.data.specs import DataError
from sadajem_jax.inference import pictures
from sadajem_jax.inference.fitting import fit

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
SPARED = 0.01  # of a folder's files may be broken, or one
NAMED = 3  # broken files whose names are said


def npz(path: pathlib.Path) -> tuple[np.ndarray, str]:
    """The array `images`, or the only one: uint8, or floats in [-1, 1]; [N, H, W(, channels)]."""
    if not path.is_file():
        raise DataError(f"{path}: expected an .npz file of images, found nothing of that name")
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            names = arrays.files
            key = "images" if "images" in names or len(names) != 1 else names[0]
            images = arrays[key]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: expected an array `images` in it ({first_line(error)})"
        ) from error
    is_pixels = images.dtype == np.uint8 or images.dtype.kind == "f"
    if images.ndim not in (3, 4) or not is_pixels or not len(images):
        raise DataError(
            f"{path}: expected images [N, H, W, channels] of uint8, or of floats in [-1, 1], found "
            f"{images.dtype} {list(images.shape)}"
        )
    pixels, warning = (images, "") if images.dtype == np.uint8 else _of_floats(path, images)
    note = f"{len(images):,} images of {path.name}{warning}"
    return pixels.reshape(*pixels.shape[:3], -1), note


def _of_floats(path: pathlib.Path, images: np.ndarray) -> tuple[np.ndarray, str]:
    """Bytes of floats in [-1, 1], and a warning where they look like floats in [0, 1]."""
    low, high = images.min(), images.max()
    if not (low >= -1 and high <= 1):  # a NaN too
        raise DataError(
            f"{path}: expected floats in [-1, 1], found {low:g} to {high:g}; scale them by "
            f"x / 127.5 - 1, or store bytes as uint8"
        )
    doubt = "; warning: floats in [-1, 1] are expected, and none here is below 0"
    return pictures.to_uint8(images), doubt if low >= 0 else ""


def read(
    name: str | os.PathLike[str], progress: Advance | None = None
) -> tuple[Iterable[np.ndarray], str]:
    """The images of an .npz file or of a folder, and what they are in words.

    Args:
      name: of either.
      progress: is told how many files of a folder are read.

    Raises:
      DataError: if there is neither.
    """
    path = found(name)
    return folder(path, progress) if path.is_dir() else npz(path)


def found(name: str | os.PathLike[str]) -> pathlib.Path:
    """The folder or .npz file of a name, which is there; not yet opened.

    Raises:
      DataError: if there is neither.
    """
    path = pathlib.Path(name).expanduser()
    if path.is_dir() or (path.suffix == ".npz" and path.is_file()):
        return path
    seen = "a file of another kind" if path.exists() else "nothing of that name"
    raise DataError(f"{name}: expected a folder of images or an .npz file, found {seen}")


def load(
    name: str | os.PathLike[str],
    image_shape: tuple[int, ...] | None = None,
    progress: Advance | None = None,
) -> tuple[np.ndarray, str]:
    """The images of `read` as one array [N, H, W, channels] uint8, and what they are in words.

    Args:
      name: of a folder or an .npz file.
      image_shape: (H, W, channels) that they are brought to, the centred square of each resized
        and made grey where that is; None: as they are, which must be of one size.
      progress: is told how many files of a folder are read.

    Raises:
      DataError: if they are of several sizes, or there are none.
    """
    images, note = read(name, progress)
    if image_shape is not None:
        fitted, how = fit(images, image_shape[0], image_shape[2])
        return fitted, note + left_out(images) + how
    found = images if isinstance(images, np.ndarray) else list(images)
    sizes = sorted({image.shape[:2] for image in found})
    if len(sizes) > 1:
        raise DataError(
            f"{name}: expected images of one size, found {len(sizes)}, among them "
            f"{sizes[0][0]}x{sizes[0][1]} and {sizes[-1][0]}x{sizes[-1][1]}; resize them first"
        )
    return np.asarray(found), note + left_out(images)


class Folder:
    """All image files under a folder, by name, [H, W, 3] uint8 each, read one by one.

    A few that cannot be read are left out: at most one, or `SPARED` of all if that is more.

    Args:
      path: of the folder.
      progress: is told how many are read.

    Attributes:
      files: the paths.
      broken: {name: why} of those left out, known once all are read.

    Raises:
      DataError: if there are no files; when all are read, if more than that are broken, or all.
    """

    def __init__(self, path: pathlib.Path, progress: Advance | None = None) -> None:
        self.path, self._progress = path, progress
        self.files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        self.broken: dict[str, str] = {}
        if not self.files:
            raise DataError(f"{path}: expected image files ({', '.join(SUFFIXES)}), found none")

    def __iter__(self) -> Iterator[np.ndarray]:
        """Reads them, as often as is asked for."""
        self.broken = {}
        for done, file in enumerate(self.files, start=1):
            try:
                image = _pixels(file)
            except DataError as error:
                self.broken[str(file.relative_to(self.path))] = str(error)
            else:
                yield image
            if self._progress:
                self._progress(done, len(self.files))
        self._refuse_many()

    def _refuse_many(self) -> None:
        number, total = len(self.broken), len(self.files)
        if number < total and number <= max(1, SPARED * total):
            return
        why = next(iter(self.broken.values()))
        raise DataError(
            f"{self.path}: {number:,} of {total:,} image files cannot be read ({self.some()}; the "
            f"first: {why}), and at most {SPARED:.0%}, or one, are left out: mend or delete them"
        )

    def some(self) -> str:
        """The first few names of those that are broken."""
        names = list(self.broken)
        return ", ".join(names[:NAMED]) + ", ..." * (len(names) > NAMED)


def folder(path: pathlib.Path, progress: Advance | None = None) -> tuple[Folder, str]:
    """All image files under a folder, by name, and what they are in words."""
    found = Folder(path, progress)
    count = len(found.files)
    return found, f"{count:,} image{'s' * (count != 1)} of the folder {path.name}"


def left_out(images: object) -> str:
    """What is to be added to the words once the images were read: "" where all could be."""
    if not isinstance(images, Folder) or not images.broken:
        return ""
    return f", less {len(images.broken):,} that cannot be read ({images.some()})"


def _pixels(file: pathlib.Path) -> np.ndarray:
    from PIL import Image

    unreadable = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
    try:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB"))
    except unreadable as error:
        raise DataError(first_line(error)) from error


def test_split(name: str, data_dir: str | None) -> tuple[Iterator[np.ndarray], str]:
    """The test split of a data set that tensorflow-datasets has prepared as array_record."""
    import tensorflow_datasets as tfds

    root = prepared.root_of(data_dir)
    versions = [info.parent for info in (root / name).glob("[0-9]*.*.*/dataset_info.json")]
    if not versions:
        raise DataError(
            f"{name}: expected a prepared set in {root}, found none, and this program prepares "
            "only CIFAR and SVHN: prepare it there with tensorflow-datasets "
            "(file_format=array_record), or give a folder or an .npz file of its images"
        )
    folder = max(versions, key=lambda f: [int(n) for n in f.name.split(".")])
    try:
        undecoded = {"image": tfds.decode.SkipDecoding()}
        builder = tfds.builder_from_directory(folder)
        source = builder.as_data_source(split="test", decoders=undecoded)
    except Exception as error:  # many libraries take part, and each has errors of its own
        raise DataError(
            f"{name}: {folder} has no test images to read ({first_line(error)})"
        ) from error
    return _decoded(name, source), f"the {len(source):,} test images of {name}"


def _decoded(name: str, source: Any) -> Iterator[np.ndarray]:
    """Image by image, as a large set would not fit into memory before it is resized."""
    from PIL import Image

    for i in range(len(source)):
        try:
            yield np.asarray(Image.open(io.BytesIO(source[i]["image"])))
        except (OSError, KeyError, TypeError) as error:
            raise DataError(f"{name}: image {i} cannot be read ({first_line(error)})") from error
