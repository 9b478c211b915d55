"""Images written for other people's tools: one .npz file with a picture beside it, or a folder."""

from __future__ import annotations

import csv
import io
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
    """The path that --out names, found writable before the work; creates the folder.

    Raises:
      UserError: if it is no .npz file and no new or empty folder, or cannot be written.
    """
    out = pathlib.Path(text).expanduser()
    is_file = out.suffix == ".npz" and not out.is_dir()
    if not text or (out.suffix and not is_file) or (not is_file and _holds_something(out)):
        raise UserError(
            f"--out must name a file that ends in .npz, or a new or empty folder, found {text!r}"
        )
    folder = out.parent if is_file else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--out={text} cannot be written ({reason}): give another") from error
    return out


def _holds_something(out: pathlib.Path) -> bool:
    return out.is_dir() and any(out.iterdir())


def write(
    out: pathlib.Path, images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> str:
    """Writes images, and says what was written.

    X.npz holds `images` and `labels`, and X.png beside it shows the first 100. A folder holds
    000000.png and so on, the images alone as other tools expect them, and labels.csv.

    Args:
      out: as of `checked`.
      images: [n, H, W, channels] uint8.
      labels: [n] int32.
      class_names: C.

    Raises:
      UserError: if it cannot be written.
    """
    try:
        if out.suffix == ".npz":
            return _npz(out, images, labels)
        return _folder(out, images, labels, class_names)
    except OSError as error:
        raise UserError(f"could not write {out}: {error.strerror or error}") from error


def _npz(out: pathlib.Path, images: np.ndarray, labels: np.ndarray) -> str:
    data, picture = io.BytesIO(), out.with_suffix(".png")
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
