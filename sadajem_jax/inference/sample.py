"""--mode=sample: writes images of a trained model to a file, for other people's tools."""

from __future__ import annotations

import io
import pathlib
import tempfile
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Progress
from sadajem_jax.inference import pictures
from sadajem_jax.inference.generate import row_labels
from sadajem_jax.inference.model import Model
from sadajem_jax.randomness import run_key
from sadajem_jax.workdir import files

SOURCES = ("buffer", "fresh")
EACH = "each"  # --label=each: the classes in turn


class Options(NamedTuple):
    """What --mode=sample was asked for.

    Attributes:
      source: "buffer" (its first n rows) or "fresh" (new chains).
      n: images, or None for as many as the buffer holds.
      out: the .npz file.
      label: "" for none, a class's number or name, or "each" for the classes in turn; fresh only.
    """

    source: str
    n: int | None
    out: pathlib.Path
    label: str


def read_options(flags: Mapping[str, str]) -> Options:
    """Reads --source, --n, --out and --label.

    Raises:
      UserError: where one of them cannot be what it says.
    """
    source, count, out = (
        flags["source"] or "buffer",
        flags["n"],
        pathlib.Path(flags["out"]).expanduser(),
    )
    if source not in SOURCES:
        raise UserError(f"--source must be {' or '.join(SOURCES)}, found {source!r}")
    digits = count.replace("_", "").replace(",", "")
    if count and (not digits.isdecimal() or int(digits) == 0):
        raise UserError(f"--n must be a whole number of images, at least 1, found {count!r}")
    if flags["label"] and source == "buffer":
        raise UserError("--label asks new chains for a class: it needs --source=fresh")
    _check_out(flags["out"], out)
    return Options(source, int(digits) if count else None, out, flags["label"])


def _check_out(text: str, out: pathlib.Path) -> None:
    """Refuses before the work what could not be written after it; creates the folder."""
    if out.suffix != ".npz" or out.is_dir():
        raise UserError(f"--out must name a file that ends in .npz, found {text!r}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"--out={text} cannot be written ({reason}): give another") from error


def export(model: Model, options: Options) -> None:
    """Writes `images` [n, H, W, channels] uint8 and `labels` [n] int32 to an .npz file.

    Raises:
      UserError: if the buffer has no n rows, the label is no class, or the file cannot be written.
    """
    n = len(model.buffer) if options.n is None else options.n
    images, labels = of_buffer(model, n) if options.source == "buffer" else fresh(model, n, options)
    data = io.BytesIO()
    np.savez(data, images=images, labels=labels)
    try:
        files.write_bytes_atomically(options.out, data.getvalue())
    except OSError as error:
        raise UserError(f"could not write {options.out}: {error.strerror or error}") from error
    print(f"{n:,} images of step {model.step:,}: {options.out}", flush=True)


def of_buffer(model: Model, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The buffer's first n rows, and the classes of their chains, or else those seen in them."""
    if n > len(model.buffer):
        raise UserError(
            f"--n must be at most {len(model.buffer):,}, the images of the buffer, found {n:,}; "
            f"--source=fresh makes new ones"
        )
    images, labels = pictures.to_uint8(model.buffer[:n]), model.classes(n)
    return images, model.predict(images) if labels is None else labels


def fresh(model: Model, n: int, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """New images drawn with the run's seed; their chains' classes, or else those seen in them."""
    asked = class_asked(options.label, model.class_names)
    label = np.arange(n) % model.num_classes if asked == EACH else asked
    label = model.classes(n) if label is None else label
    key = jax.random.fold_in(run_key(model.seed), model.step)
    with Progress(f"sampling {n:,} images", unit="") as progress:
        images = pictures.to_uint8(model.sample(key, n, label, progress=progress))
    if label is None:
        return images, model.predict(images)
    return images, row_labels(label, n, model.num_classes)


def class_asked(text: str, names: tuple[str, ...]) -> int | str | None:
    """The class that --label names: a number, "each", or None for "".

    Raises:
      UserError: if it names none.

    Examples:
      >>> class_asked("dog", ("cat", "dog")), class_asked("0", ("cat", "dog"))
      (1, 0)
    """
    if text in ("", EACH):
        return text or None
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    known = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    raise UserError(
        f"--label must be a number from 0 to {len(names) - 1}, a name ({known}) or {EACH!r}, "
        f"found {text!r}"
    )
