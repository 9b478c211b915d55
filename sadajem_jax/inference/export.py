"""Images written for other people's tools: one .npz file with a picture beside it, or a folder."""

from __future__ import annotations

import csv
import io
import itertools
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Progress
from sadajem_jax.inference import pictures
from sadajem_jax.workdir import files

SHOWN = 100  # images of the picture beside an .npz file
LABELS = "labels.csv"


def checked(text: str) -> pathlib.Path:
    """The path that --out names: nothing that is there is written over, nor added to.

    Raises:
      UserError: if it is no .npz file and no new or empty folder, or a file of it is there.
    """
    out = pathlib.Path(text).expanduser()
    if not text or out.suffix not in ("", ".npz"):
        raise UserError(
            f"--out must name a file that ends in .npz, or a new or empty folder, found {text!r}"
        )
    for path in _written(out):
        if _is_taken(path):
            raise UserError(
                f"--out={text}{'' if path == out else f': {path}'} is there, and nothing is "
                f"written over: give another name, or delete it"
            )
    return out


def _written(out: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """What is written where `out` is asked for: a file and its picture, or a folder."""
    return (out, _picture(out)) if out.suffix else (out,)


def _picture(out: pathlib.Path) -> pathlib.Path:
    """The file of the picture beside an .npz file."""
    return out.with_suffix(".png")


def free(out: pathlib.Path) -> pathlib.Path:
    """The path itself, or with a number behind its name, the first at which there is nothing."""
    for name in itertools.chain([out.stem], (f"{out.stem}_{n}" for n in itertools.count(2))):
        there = out.with_name(name + out.suffix)
        if not any(map(_is_taken, _written(there))):
            break
    if not there.suffix:
        there.mkdir(exist_ok=True)
    return there


def _is_taken(path: pathlib.Path) -> bool:
    """Whether anything is there but an empty folder for what is to be a folder."""
    if path.is_dir() and not path.suffix:
        return any(path.iterdir())
    return path.exists() or path.is_symlink()


def make_ready(out: pathlib.Path) -> None:
    """Creates the folder, found writable before the work.

    Raises:
      UserError: if it cannot be written.
    """
    folder = out.parent if out.suffix else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--out={out} cannot be written ({reason}): give another") from error


def write(
    out: pathlib.Path, images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> str:
    """Writes images, and says what was written.

    X.npz holds `images` and `labels`, and X.png beside it shows the first 100. A folder holds
    000000.png and so on, the images alone as other tools expect them, and labels.csv.

    Args:
      out: as of `checked`; where something has come to be there since, a free name beside it.
      images: [n, H, W, channels] uint8.
      labels: [n] int32.
      class_names: C.

    Raises:
      UserError: if it cannot be written.
    """
    try:
        out = free(out)
        if out.suffix == ".npz":
            return _npz(out, images, labels)
        return _folder(out, images, labels, class_names)
    except OSError as error:
        raise UserError(f"could not write {out}: {error.strerror or error}") from error


def _npz(out: pathlib.Path, images: np.ndarray, labels: np.ndarray) -> str:
    data, picture = io.BytesIO(), _picture(out)
    np.savez(data, images=images, labels=labels)
    files.write_bytes_atomically(out, data.getvalue())
    scale = max(1, 64 // images.shape[1])
    pictures.save_png(picture, pictures.grid(images[:SHOWN], scale=scale))
    return f"{out} (the first {min(len(images), SHOWN)} as a picture: {picture})"


def _folder(
    out: pathlib.Path, images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> str:
    names = [f"{i:06d}.png" for i in range(len(images))]
    with Progress(f"writing {out}") as progress:
        for done, (name, image) in enumerate(zip(names, images, strict=True), start=1):
            Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(out / name)
            progress(done, len(images))
    with open(out / LABELS, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "class"])
        rows.writerows((n, y, class_names[y]) for n, y in zip(names, labels, strict=True))
    return f"{out} ({names[0]} to {names[-1]}, {LABELS})"
