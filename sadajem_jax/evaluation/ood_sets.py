"""What a model has not seen: named sets of images, brought to the shape of its own.

A set is one of ours (`NAMES`), any data set of tensorflow-datasets that lies prepared, a folder of
image files, or an .npz file. Images of another size are cut to a centred square and resized.
"""

from __future__ import annotations

import pathlib
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from sadajem_jax.console.words import nearest
from sadajem_jax.data import loading, specs
from sadajem_jax.data.specs import DataError, DatasetSpec, get_spec
from sadajem_jax.inference import image_files, pictures
from sadajem_jax.inference.fitting import fit

INTERPOLATED = "_interpolated"
NAMES = (
    *(name for name in specs.NAMES),
    *(name + INTERPOLATED for name in specs.NAMES),
    "photographs",
    "inverted_digits",
    "uniform_noise",
    "gaussian_noise",
)
CROP = 32  # pixels of a photograph in each crop
GAUSSIAN_STD = 0.5  # on the [-1, 1] scale, as in Outlier Exposure
SEED = 0


class OODSet(NamedTuple):
    """Images that the model was not trained on.

    Attributes:
      label: in the names of metrics.
      images: [N, H, W, channels] of 0 to 255: uint8, or float32 where there are halves.
      note: what they are, and in what they differ from the official set.
      official: how many images the official split has; None where there is none.
    """

    label: str
    images: np.ndarray
    note: str
    official: int | None = None

    @property
    def checksum(self) -> str:
        """CRC-32 of the images: another file under the same name is another set."""
        return f"{zlib.crc32(np.ascontiguousarray(self.images).data):08x}"


def label_of(name: str) -> str:
    """The set's name in metrics: a path's last word, without the suffix.

    Examples:
      >>> label_of("svhn_cropped"), label_of("photos/faces.npz"), label_of("mnist_corrupted/fog")
      ('svhn_cropped', 'faces', 'fog')
    """
    return pathlib.PurePath(name).name.removesuffix(".npz")


def check_name(name: str) -> str | None:
    """None if `name` can be a set, else what is wrong; looks at no image."""
    is_path = "/" in name or name.endswith(".npz")
    if label_of(name) and (name in NAMES or is_path):
        return None
    builders = _builders()
    if name in builders:
        return None
    return (
        f"{name!r}{nearest(name, [*NAMES, *builders])}: ours are {', '.join(NAMES)}; others are "
        f"sets of tensorflow-datasets, folders (with a /) and .npz files"
    )


def _builders() -> list[str]:
    import tensorflow_datasets as tfds

    return list(tfds.list_builders(with_community_datasets=False))


def load(name: str, spec: DatasetSpec, count: int, data_dir: str | None = None) -> OODSet:
    """Reads or makes a set, in the shape of the in-distribution set.

    Args:
      name: see `NAMES`; a name of tensorflow-datasets; or a path with a "/" or of an .npz file.
      spec: of the in-distribution set.
      count: images of a set that is drawn (noise).
      data_dir: as in `data.load`.

    Returns:
      The set, the same at each call.

    Raises:
      DataError: if it cannot be had, in one line.
    """
    images, note = _find(name, count, data_dir, spec)
    fitted, how = fit(images, spec.image_size, spec.channels)
    base = name.removesuffix(INTERPOLATED)
    official = get_spec(base).num_test if base in specs.NAMES else None
    return OODSet(label_of(name), fitted, note + image_files.left_out(images) + how, official)


def _find(
    name: str, count: int, data_dir: str | None, spec: DatasetSpec
) -> tuple[Iterable[np.ndarray], str]:
    shape = (count, spec.image_size, spec.image_size, spec.channels)
    made: dict[str, Callable[[], tuple[np.ndarray, str]]] = {
        "uniform_noise": lambda: uniform_noise(shape),
        "gaussian_noise": lambda: gaussian_noise(shape),
        "photographs": photographs,
        "inverted_digits": inverted_digits,
    }
    if name in made:
        return made[name]()
    if name in specs.NAMES:
        return _test_split(name, data_dir)
    if name.removesuffix(INTERPOLATED) in specs.NAMES:
        images, note = _test_split(name.removesuffix(INTERPOLATED), data_dir)
        return interpolated(images), "means of two of " + note
    path = pathlib.Path(name).expanduser()
    if path.suffix == ".npz":
        return image_files.npz(path)
    if path.is_dir() and "/" in name:
        return image_files.folder(path)
    if "/" in name and name.split("/")[0] not in _builders():
        found = "a file of another kind" if path.exists() else "nothing of that name"
        raise DataError(f"{name}: expected a folder of images or an .npz file, found {found}")
    return image_files.test_split(name, data_dir)


def uniform_noise(shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """Every value of every pixel uniform over the 256 levels."""
    rng = np.random.default_rng(SEED)
    return rng.integers(0, 256, shape, np.uint8), f"{shape[0]:,} images of uniform noise"


def gaussian_noise(shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """N(0, 0.5^2) on the [-1, 1] scale, clipped (Hendrycks et al. 2019, Outlier Exposure)."""
    values = np.random.default_rng(SEED).normal(0, GAUSSIAN_STD, shape)
    note = f"{shape[0]:,} images of Gaussian noise, N(0, {GAUSSIAN_STD}^2) clipped to [-1, 1]"
    return pictures.to_uint8(values), note


def interpolated(images: np.ndarray) -> np.ndarray:
    """The mean of each image and the next one of a fixed shuffle: [N, ...] uint8 -> float32.

    The released code takes the mean of a batch and the one before it, which has the same law.
    """
    shuffled = images[np.random.default_rng(SEED).permutation(len(images))].astype(np.float32)
    return (shuffled + np.roll(shuffled, 1, axis=0)) / 2


def photographs() -> tuple[np.ndarray, str]:
    """Grey crops, side by side, of the two photographs that scikit-learn ships."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    crops = []
    for photograph in load_sample_images().images:
        grey = np.asarray(Image.fromarray(photograph).convert("L"))
        rows, columns = grey.shape[0] // CROP, grey.shape[1] // CROP
        cells = grey[: rows * CROP, : columns * CROP].reshape(rows, CROP, columns, CROP)
        crops.append(cells.swapaxes(1, 2).reshape(-1, CROP, CROP))
    images = np.concatenate(crops)[..., None]
    return images, f"{len(images):,} grey {CROP}-pixel crops of two photographs (scikit-learn's)"


def inverted_digits() -> tuple[np.ndarray, str]:
    """The digits' test images with ink and paper exchanged."""
    images = 255 - loading.load(get_spec("digits"), "test").images
    return images, f"the {len(images):,} test digits, dark on light"


def _test_split(name: str, data_dir: str | None) -> tuple[np.ndarray, str]:
    images = loading.load(get_spec(name), "test", data_dir).images
    return images, describe(name, len(images))


def describe(name: str, found: int) -> str:
    """What a folder holds of a test split; it says so where the official one is larger.

    Examples:
      >>> describe("svhn_cropped", 10_000)
      '10,000 of the 26,032 official test images of svhn_cropped'
    """
    official = get_spec(name).num_test
    if found == official:
        return f"the {official:,} test images of {name}"
    return f"{found:,} of the {official:,} official test images of {name}"
