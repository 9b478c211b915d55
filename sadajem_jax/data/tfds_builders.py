"""The stock tensorflow-datasets builders of CIFAR and SVHN, made to prepare without TensorFlow.

The stock builders unpack and decode through `tf.io.gfile`. Here the archives are read with tarfile
and scipy instead; addresses, checksums, keys and ids stay those of the stock builders, so what is
written is what `tfds.builder(name, file_format="array_record", data_dir=...)` finds prepared, image
for image in the same order.

A machine without a network can be given the archives by hand: tensorflow-datasets looks for them
in `DATA_DIR/downloads/manual`, under the names they have at their source.
"""

from __future__ import annotations

import contextlib
import pathlib
import sys
import tarfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import numpy as np
import scipy.io
import tensorflow_datasets as tfds
from PIL import Image

_StockCifar10: Any = tfds.builder_cls("cifar10")
_StockCifar100: Any = tfds.builder_cls("cifar100")
_StockSvhn: Any = tfds.builder_cls("svhn_cropped")

Examples = Iterator[tuple[int, dict[str, Any]]]


def read_archive(path: pathlib.Path, folder: str) -> dict[str, bytes]:
    """Returns {name: content} of the plain files directly in `folder` of a tar archive.

    One pass in the archive's own order, as going back in a gzip means to unpack it again.
    """
    files = {}
    with tarfile.open(path) as archive:
        for member in archive:
            where, _, name = member.name.removeprefix("./").rpartition("/")
            content = archive.extractfile(member) if where == folder else None
            if content is not None:
                files[name] = content.read()
    return files


def decode_cifar(data: bytes, num_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Decodes a file of CIFAR's binary version.

    Args:
      data: records of `num_labels` label bytes, then 3,072 bytes: red, green and blue planes.
      num_labels: 1 in CIFAR-10; 2 in CIFAR-100, coarse before fine.

    Returns:
      images uint8 [N, 32, 32, 3] and labels uint8 [N, num_labels].

    Raises:
      ValueError: where the bytes are no whole number of records.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
    """
    records = np.frombuffer(data, np.uint8).reshape(-1, num_labels + 3 * 32 * 32)
    planes = records[:, num_labels:].reshape(-1, 3, 32, 32)
    return planes.transpose(0, 2, 3, 1), records[:, :num_labels]


def decode_svhn(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Decodes one of SVHN's cropped .mat files, in which X is [32, 32, 3, N] and y 1 to 10.

    Returns:
      images uint8 [N, 32, 32, 3] and labels int [N], the digits 0 to 9: the file writes 0 as 10.

    Source: http://ufldl.stanford.edu/housenumbers, "Format 2: Cropped Digits".
    """
    mat = scipy.io.loadmat(path)
    return mat["X"].transpose(3, 0, 1, 2), mat["y"].reshape(-1) % 10


class _CifarReading:
    """What both CIFAR builders override: opening and decoding of the one archive."""

    info: Any
    _cifar_info: Any

    @property
    def urls(self) -> dict[str, str]:
        """What to download: the one archive."""
        return {"archive": self._cifar_info.url}

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        cifar = self._cifar_info
        files = read_archive(dl_manager.download(self.urls)["archive"], cifar.prefix.rstrip("/"))
        for key, name in zip(cifar.label_keys, cifar.label_files, strict=True):
            self.info.features[key].names = files[name].decode().split()
        train = b"".join(files[name] for name in cifar.train_files)
        test = b"".join(files[name] for name in cifar.test_files)
        return {
            "train": self._generate_examples("train_", train),
            "test": self._generate_examples("test_", test),
        }

    def _generate_examples(self, split_prefix: str, data: bytes) -> Examples:
        keys = self._cifar_info.label_keys
        images, labels = decode_cifar(data, len(keys))
        for i, (image, row) in enumerate(zip(images, labels, strict=True)):
            # A PIL image, as tensorflow-datasets encodes arrays with TensorFlow.
            example = {"id": f"{split_prefix}{i:05d}", "image": Image.fromarray(image)}
            yield i, example | dict(zip(keys, row.tolist(), strict=True))


class Cifar10(_CifarReading, _StockCifar10, skip_registration=True):  # type: ignore[call-arg]
    """CIFAR-10 from its binary version."""

    name = "cifar10"


class Cifar100(_CifarReading, _StockCifar100, skip_registration=True):  # type: ignore[call-arg]
    """CIFAR-100 from its binary version."""

    name = "cifar100"


class SvhnCropped(_StockSvhn, skip_registration=True):  # type: ignore[call-arg]
    """SVHN's 32x32 digits: train and test, without the 1.3 GB of "extra" images."""

    name = "svhn_cropped"
    # The stock builder finds its checksums beside its own source file.
    url_infos = _StockSvhn.url_infos

    @property
    def urls(self) -> dict[str, str]:
        """What to download: a file for each split."""
        return {s: urljoin(self.info.homepage, f"{s}_32x32.mat") for s in ("train", "test")}

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        paths = dl_manager.download(self.urls)
        return {s: self._generate_examples(f"{s}_", path) for s, path in paths.items()}

    def _generate_examples(self, split_prefix: str, filepath: pathlib.Path) -> Examples:
        images, labels = decode_svhn(filepath)
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            png = Image.fromarray(np.ascontiguousarray(image))
            yield i, {"id": f"{split_prefix}{i:06d}", "image": png, "label": int(label)}


_BUILDERS: dict[str, Any] = {b.name: b for b in (Cifar10, Cifar100, SvhnCropped)}


def urls(name: str, data_dir: pathlib.Path) -> list[str]:
    """Returns the addresses that `prepare` would download into `data_dir`."""
    return list(_BUILDERS[name](data_dir=data_dir, file_format="array_record").urls.values())


def prepare(name: str, data_dir: pathlib.Path) -> None:
    """Downloads a data set and writes it as array_record under `data_dir`.

    Downloads stay in `data_dir/downloads`, so that an interrupted preparation goes on from there.
    Raises what tensorflow-datasets raises: no network, a wrong checksum, a full disk.
    """
    builder = _BUILDERS[name](data_dir=data_dir, file_format="array_record")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):  # it announces itself on stdout
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
