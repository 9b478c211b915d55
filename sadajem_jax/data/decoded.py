"""Decoded splits, kept beside the prepared set they are of, or in the user's cache folder.

Decoding 50,000 small images takes seconds of every start; reading them as arrays a fraction of one.
A file is one .npz, uncompressed: zip carries a CRC-32 of each array, checked as it is read. It is
written beside and renamed, so that a reader finds a whole one or none, and may be deleted at any
time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import sys
import uuid
from typing import NamedTuple

import numpy as np

from sadajem_jax.console import user_folder
from sadajem_jax.console.errors import first_line
from sadajem_jax.data.specs import DatasetSpec

FORMAT = 1  # of what is written here, and how images are decoded: another one is made anew


class Kept(NamedTuple):
    """A decoded split that was found.

    Attributes:
      path: its file.
      images: uint8 [N, H, W, channels].
      labels: int32 [N].
    """

    path: pathlib.Path
    images: np.ndarray
    labels: np.ndarray


def read(spec: DatasetSpec, folder: pathlib.Path, split: str) -> Kept | None:
    """The split of a prepared folder as it was decoded before; None where it is to be decoded.

    A damaged file, or one made before the folder changed, is named in a line on stderr.
    """
    asked = _mark(spec, folder)
    for path in _places(folder, split):
        try:
            with open(path, "rb") as file, np.load(file) as stored:
                if stored["mark"].item() == asked:
                    return Kept(path, stored["images"], stored["labels"])
            problem = "was made from other files"
        except (FileNotFoundError, NotADirectoryError):
            continue
        except Exception as error:  # a damaged zip raises anything, and so may a folder
            problem = f"cannot be read ({first_line(error)})"
        _say(f"warning: {path} {problem}: decoding the images again")
    return None


def keep(
    spec: DatasetSpec, folder: pathlib.Path, split: str, images: np.ndarray, labels: np.ndarray
) -> None:
    """Writes a decoded split where it can be; where none can, a line says so, and that is all."""
    content = {"mark": np.array(_mark(spec, folder)), "images": images, "labels": labels}
    problem: OSError | None = None
    for path in _places(folder, split):
        try:
            _write(path, content)
            return
        except OSError as error:  # read-only, full, or a quota
            problem = error
    _say(f"{spec.name} {split}: decoded images are not kept ({problem})")


def _places(folder: pathlib.Path, split: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Beside the set, and for sets that others own in the user's cache, told by where they lie."""
    known = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    own = f"{folder.parent.name}-{folder.name}-{known}"
    name = f"{split}.npz"
    return folder / "decoded" / name, user_folder.cache() / "decoded" / own / name


def _mark(spec: DatasetSpec, folder: pathlib.Path) -> str:
    """What a decoded split depends on: this format, the spec, and every file of the folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return json.dumps([FORMAT, spec.name, spec.image_shape, spec.num_classes, stats])


def _write(path: pathlib.Path, content: dict[str, np.ndarray]) -> None:
    """Writes `path` in one step, whatever other runs are writing to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, **content)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
