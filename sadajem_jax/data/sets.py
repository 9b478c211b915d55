"""Named data sets in, numpy arrays out; the trainer puts them on the device.

CIFAR and SVHN come from folders that tensorflow-datasets prepared as array_record, read without
TensorFlow. The handwritten digits come with scikit-learn and need no download. Importing this
module imports neither: each is reached only when it is needed.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import pathlib
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from sadajem_jax.console.errors import UserError

# How long a source may take to answer before it counts as out of reach.
REACH_SECONDS = 5.0

_CHUNK = 1000  # records held undecoded at a time


class DataError(UserError):
    """A data set cannot be had. One line: what was expected, what was found, what to do."""


class Images(NamedTuple):
    """A split: images uint8 [N, H, W, C] and labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray


class DatasetSpec(NamedTuple):
    """What a config may assume of a data set before anything is read; counts are the official."""

    image_size: int
    channels: int
    num_classes: int
    num_train: int
    num_test: int
    class_names: tuple[str, ...]


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

SPECS: dict[str, DatasetSpec] = {
    "cifar10": DatasetSpec(32, 3, 10, 50_000, 10_000, tuple(_CIFAR10_NAMES.split())),
    "cifar100": DatasetSpec(32, 3, 100, 50_000, 10_000, tuple(_CIFAR100_NAMES.split())),
    "svhn_cropped": DatasetSpec(32, 3, 10, 73_257, 26_032, _TEN_DIGITS),
    "digits": DatasetSpec(8, 1, 10, 1_500, 297, _TEN_DIGITS),
}


def get_spec(name: str) -> DatasetSpec:
    """Returns the row of `SPECS`, or raises DataError with the known and the nearest name."""
    if name in SPECS:
        return SPECS[name]
    near = difflib.get_close_matches(str(name), SPECS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "set --config.data.name to one of these"
    raise DataError(f"unknown data set {name!r}: expected one of {', '.join(SPECS)}; {hint}")


def load(name: str, split: str, data_dir: str | None = None) -> Images:
    """Reads a split, downloading and preparing the data set first where it is not there yet.

    A folder may hold fewer images than the official split: what is there is returned, and the line
    on stderr says so.

    Args:
      name: a key of `SPECS`.
      split: "train" or "test".
      data_dir: the folder of prepared sets; None means TFDS_DATA_DIR, or ~/tensorflow_datasets.

    Returns:
      images uint8 [N, H, W, C] and labels int32 [N], in the folder's own fixed order.

    Raises:
      DataError: where name, split, folder or source is not as it should be.
    """
    folder = _locate(name, data_dir, split)
    if name == "digits":
        return _digits(split)
    if folder is None:
        folder = _prepare(name, _root(data_dir))
    return _read(name, folder, split)


def check_available(name: str, data_dir: str | None = None, split: str | None = None) -> None:
    """Raises DataError, within seconds, where `load` could not succeed; downloads nothing.

    A set that is neither prepared nor within reach is refused; digits never stand in for it.

    Args:
      name: a key of `SPECS`.
      data_dir: as in `load`.
      split: one that a set already prepared must hold; None asks for none in particular.
    """
    _locate(name, data_dir, split)


def _locate(name: str, data_dir: str | None, split: str | None) -> pathlib.Path | None:
    """Returns the prepared folder; None where there is none and none, or a download, will do."""
    get_spec(name)
    if split not in ("train", "test", None):
        raise DataError(f"unknown split {split!r} of {name}: expected 'train' or 'test'")
    if name == "digits":
        return None
    root = _root(data_dir)
    if data_dir and not root.is_dir():
        raise DataError(
            f"{name}: data.data_dir is {data_dir!r}, which is no folder; set "
            "--config.data.data_dir to a folder of prepared sets, or create it to download there"
        )
    folder = _prepared_folder(name, root)
    if folder is None:
        _require_source(name, root, given=bool(data_dir))
    elif split is not None:
        _require_split(name, folder, split)
    return folder


def _root(data_dir: str | None) -> pathlib.Path:
    """Returns the folder of prepared sets, chosen as tensorflow-datasets chooses it."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(data_dir or default).expanduser()


def _prepared_folder(name: str, root: pathlib.Path) -> pathlib.Path | None:
    """Returns ROOT/NAME/VERSION of the newest version prepared as array_record, if any."""
    formats = {}
    for info in (root / name).glob("*/dataset_info.json"):
        # tensorflow-datasets writes into "incomplete.*" first.
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name):
            formats[info.parent] = _read_info(info.parent).get("fileFormat", "tfrecord")
    readable = [folder for folder, fmt in formats.items() if fmt == "array_record"]
    if formats and not readable:
        folder, found = next(iter(formats.items()))
        raise DataError(
            f"{name}: expected array_record files in {folder}, found {found}, which TensorFlow "
            "alone reads; set --config.data.data_dir=FOLDER to another folder, to prepare it there"
        )
    return max(readable, key=lambda f: [int(n) for n in f.name.split(".")], default=None)


def _read_info(folder: pathlib.Path) -> dict[str, Any]:
    """Returns what tensorflow-datasets noted about a prepared folder."""
    try:
        info = json.loads((folder / "dataset_info.json").read_text())
        return {**info, "splits": info.get("splits", [])}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(folder, error) from error


def _require_split(name: str, folder: pathlib.Path, split: str) -> None:
    """Raises DataError where a prepared folder lacks a split."""
    there = [s["name"] for s in _read_info(folder)["splits"]]
    if split not in there:
        raise DataError(
            f"{name}: expected split {split!r} in {folder}, found only {', '.join(there) or 'none'}"
            "; set --config.data.data_dir=FOLDER to a folder that holds it"
        )


def _require_source(name: str, root: pathlib.Path, given: bool) -> None:
    """Raises DataError where a set is not prepared and its archives cannot be had either."""
    from sadajem_jax.data import tfds_builders

    urls = tfds_builders.urls(name, root)
    manual = root / "downloads" / "manual"
    if all((manual / url.rpartition("/")[2]).exists() for url in urls):
        return
    reason = _why_unreachable(urls[0])
    if reason:
        where = f"data.data_dir={root}" if given else str(root)
        raise DataError(
            f"{name}: expected a prepared set in {where}, found none there, and its source "
            f"{urlsplit(urls[0]).netloc} cannot be reached ({reason}); set "
            "--config.data.data_dir=FOLDER to a folder that holds it prepared, or try "
            "--config=configs/digits.py, which needs no download"
        )


def _why_unreachable(url: str) -> str | None:
    """Asks for `url` as the download would, but reads no body; returns why not, or None.

    In a thread of its own, since a name server that does not answer heeds no timeout.
    """
    import requests

    reason: list[str | None] = [f"no answer in {REACH_SECONDS:g} s"]

    def ask() -> None:
        try:
            with requests.get(url, stream=True, timeout=REACH_SECONDS) as answer:
                reason[0] = None if answer.ok else f"it answers HTTP {answer.status_code}"
        except requests.RequestException as error:
            reason[0] = type(error).__name__

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(REACH_SECONDS)
    return reason[0]


def _prepare(name: str, root: pathlib.Path) -> pathlib.Path:
    """Downloads and prepares a set under `root`, and returns its folder."""
    from sadajem_jax.data import tfds_builders

    _say(f"{name}: downloading and preparing into {root}, once")
    try:
        tfds_builders.prepare(name, root)
    except Exception as error:  # many libraries take part, and each has errors of its own
        raise DataError(
            f"{name}: could not be prepared in {root}: {_first_line(error)}; remove "
            f"{root / 'downloads'} if a download is damaged, or set --config.data.data_dir=FOLDER "
            "to a folder that holds it prepared"
        ) from error
    folder = _prepared_folder(name, root)
    assert folder is not None, "prepare returned without an error and left no data set"
    return folder


def _read(name: str, folder: pathlib.Path, split: str) -> Images:
    """Reads and decodes a split of a prepared folder."""
    spec = SPECS[name]
    _require_split(name, folder, split)
    shape = (spec.image_size, spec.image_size, spec.channels)
    try:
        source = _raw_records(folder, split)
        _say(_summary(name, split, len(source), folder))
        images = np.empty((len(source), *shape), np.uint8)
        labels = np.empty(len(source), np.int32)
        for i, (image, label) in enumerate(_decoded(source, f"{name} {split}")):
            if image.shape != shape or not 0 <= label < spec.num_classes:
                raise ValueError(f"record {i} is an image {image.shape} of class {label}")
            images[i], labels[i] = image, label
    except (OSError, RuntimeError, ValueError, KeyError, IndexError) as error:
        raise _damaged(folder, error) from error
    return Images(images, labels)


def _raw_records(folder: pathlib.Path, split: str) -> Any:
    """Returns a sequence of serialized tf.train.Example."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    return builder.as_data_source(split=split, deserialize_method=raw)


def _decoded(source: Any, title: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (image uint8 [H, W, C], label), with a progress bar if someone is looking.

    Three times as fast as tensorflow-datasets' own decoding. Threads make it no faster: images
    this small spend their time in Python.
    """
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2
    from tqdm import tqdm  # type: ignore[import-untyped]

    quiet = not sys.stderr.isatty()
    with tqdm(total=len(source), desc=title, disable=quiet, delay=1, leave=False) as bar:
        for start in range(0, len(source), _CHUNK):
            stop = min(start + _CHUNK, len(source))
            for record in source.__getitems__(range(start, stop)):
                feature = tf_example_pb2.Example.FromString(record).features.feature
                image = Image.open(io.BytesIO(feature["image"].bytes_list.value[0]))
                yield np.asarray(image), feature["label"].int64_list.value[0]
            bar.update(stop - start)


def _digits(split: str) -> Images:
    """scikit-learn's 1,797 handwritten digits: every image is in exactly one of the two splits.

    The held-out 297 are taken at even steps from the images sorted by class, so each class has its
    share of them, and no random number generator decides what they are.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 0..16 to 0..255; rint is exact here, as the one tie (8, 127.5) goes to the even 128.
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    num_test = SPECS["digits"].num_test
    held_out = np.zeros(len(labels), bool)
    held_out[np.argsort(labels, kind="stable")[np.arange(num_test) * len(labels) // num_test]] = (
        True
    )
    chosen = held_out if split == "test" else ~held_out
    return Images(images[chosen], labels[chosen])


def _summary(name: str, split: str, found: int, folder: pathlib.Path) -> str:
    """One line on what is about to be read; it says where the official split is larger."""
    spec = SPECS[name]
    official = spec.num_train if split == "train" else spec.num_test
    note = "" if found == official else f" (the official split has {official:,})"
    return f"{name} {split}: {found:,} images{note} from {folder}"


def _damaged(folder: pathlib.Path, error: Exception) -> DataError:
    return DataError(
        f"expected a prepared data set in {folder}, found it damaged: {_first_line(error)}; remove "
        "that folder to have it prepared again, or set --config.data.data_dir=FOLDER to another"
    )


def _first_line(error: Exception) -> str:
    """The error's type and the first line of its message; tensorflow-datasets writes many."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip(':')}" if lines else type(error).__name__


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
