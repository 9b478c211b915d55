"""Data sets that tensorflow-datasets prepared as array_record, read without TensorFlow.

Where one is not there yet it is downloaded and prepared first. Importing this module imports
neither tensorflow-datasets nor requests: each is reached only when it is needed.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from sadajem_jax.console.errors import first_line
from sadajem_jax.console.progress import Progress
from sadajem_jax.data import decoded
from sadajem_jax.data.specs import DataError, DatasetSpec

# How long a source may take to answer before it counts as out of reach.
REACH_SECONDS = 5.0

_CHUNK = 1000  # records held undecoded at a time


def root_of(data_dir: str | None) -> pathlib.Path:
    """The folder of prepared sets, chosen as tensorflow-datasets chooses it."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(data_dir or default).expanduser()


def locate(spec: DatasetSpec, data_dir: str | None, split: str | None) -> pathlib.Path | None:
    """The prepared folder; None where there is none yet, and a download will do.

    Raises:
      DataError: if it lacks the split, or is not there and cannot be made.
    """
    name, root = spec.name, root_of(data_dir)
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


def prepare(spec: DatasetSpec, data_dir: str | None) -> pathlib.Path:
    """Downloads and prepares a set, and returns its folder; raises DataError if it cannot."""
    from sadajem_jax.data import tfds_builders

    name, root = spec.name, root_of(data_dir)
    _say(f"{name}: downloading and preparing into {root}, once")
    try:
        tfds_builders.prepare(name, root)
    except Exception as error:  # many libraries take part, and each has errors of its own
        raise DataError(
            f"{name}: could not be prepared in {root}: {first_line(error)}; remove "
            f"{root / 'downloads'} if a download is damaged, or set --config.data.data_dir=FOLDER "
            "to a folder that holds it prepared"
        ) from error
    folder = _prepared_folder(name, root)
    assert folder is not None, "prepare returned without an error and left no data set"
    return folder


def read(spec: DatasetSpec, folder: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 [N, H, W, channels], labels int32 [N]) of a prepared folder's split.

    Decoded once and kept, see `decoded`.

    Raises:
      DataError: if it lacks the split, or is damaged.
    """
    _require_split(spec.name, folder, split)
    kept = decoded.read(spec, folder, split)
    if kept is not None:
        _say(_summary(spec, split, len(kept.labels), kept.path))
        return kept.images, kept.labels
    images, labels = _decode(spec, folder, split)
    decoded.keep(spec, folder, split, images, labels)
    return images, labels


def _decode(spec: DatasetSpec, folder: pathlib.Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The split out of its records; raises DataError where they are damaged."""
    shape = spec.image_shape
    try:
        source = _raw_records(folder, split)
        _say(_summary(spec, split, len(source), folder))
        images = np.empty((len(source), *shape), np.uint8)
        labels = np.empty(len(source), np.int32)
        for i, (image, label) in enumerate(_records(source, f"{spec.name} {split}")):
            if image.shape != shape or not 0 <= label < spec.num_classes:
                raise ValueError(f"record {i} is an image {image.shape} of class {label}")
            images[i], labels[i] = image, label
    except (OSError, RuntimeError, ValueError, KeyError, IndexError) as error:
        raise _damaged(folder, error) from error
    return images, labels


def _raw_records(folder: pathlib.Path, split: str) -> Any:
    """Returns a sequence of serialized tf.train.Example."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    return builder.as_data_source(split=split, deserialize_method=raw)


def _records(source: Any, title: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (image uint8 [H, W, C], label), and shows how far it is.

    Three times as fast as tensorflow-datasets' own decoding. Threads make it no faster: images
    this small spend their time in Python.
    """
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    with Progress(title) as progress:
        for start in range(0, len(source), _CHUNK):
            stop = min(start + _CHUNK, len(source))
            for record in source.__getitems__(range(start, stop)):
                feature = tf_example_pb2.Example.FromString(record).features.feature
                image = Image.open(io.BytesIO(feature["image"].bytes_list.value[0]))
                yield np.asarray(image), feature["label"].int64_list.value[0]
            progress(stop, len(source))


def _summary(spec: DatasetSpec, split: str, found: int, where: pathlib.Path) -> str:
    """One line on what is about to be read; it says where the official split is larger."""
    official = spec.num_images(split)
    note = "" if found == official else f" (the official split has {official:,})"
    return f"{spec.name} {split}: {found:,} images{note} from {where}"


def _damaged(folder: pathlib.Path, error: Exception) -> DataError:
    return DataError(
        f"expected a prepared data set in {folder}, found it damaged: {first_line(error)}; remove "
        "that folder to have it prepared again, or set --config.data.data_dir=FOLDER to another"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
