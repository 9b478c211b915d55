"""--mode=sample: images of a trained model, from its buffer or by new chains."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Progress
from sadajem_jax.console.words import nearest
from sadajem_jax.inference import export, image_files, pictures
from sadajem_jax.inference.generate import row_labels
from sadajem_jax.inference.model import Model
from sadajem_jax.randomness import run_key

SOURCES = ("buffer", "fresh")
REFINED = "refined"  # chains from the user's own images, which --refine_from names
OF_CHAINS = ("label", "seed", "num_steps")
EACH = "each"  # --label=each: the classes in turn


class Options(NamedTuple):
    """What --mode=sample was asked for.

    Attributes:
      source: "buffer" (its first n rows), "fresh" (new chains) or "refined" (chains from images).
      n: images, or None for as many as the buffer, or what is refined, holds.
      out: the .npz file, or a folder.
      label: "" for none, a class's number or name, or "each" for the classes in turn.
      seed: of the chains, or None for the run's.
      num_steps: of a chain, or None for the life of a buffer row.
      refine_from: the folder or .npz file of the images that are refined.
    """

    source: str
    n: int | None
    out: pathlib.Path
    label: str = ""
    seed: int | None = None
    num_steps: int | None = None
    refine_from: str = ""


def read_options(flags: Mapping[str, str]) -> Options:
    """Reads the flags of --mode=sample.

    Raises:
      UserError: where one of them cannot be what it says.
    """
    source = _source(flags)
    stray = [name for name in OF_CHAINS if flags[name] and source == "buffer"]
    if stray:
        raise UserError(f"--{stray[0]} is of new chains: it needs --source=fresh or --refine_from")
    return Options(
        source,
        _whole("n", flags["n"], 1),
        export.checked(flags["out"]),
        flags["label"],
        _whole("seed", flags["seed"], 0),
        _whole("num_steps", flags["num_steps"], 0),
        flags["refine_from"],
    )


def _source(flags: Mapping[str, str]) -> str:
    source = flags["source"]
    if flags["refine_from"]:
        if source:
            raise UserError(f"--refine_from says where chains start: leave out --source={source}")
        return REFINED
    if source not in ("", *SOURCES):
        raise UserError(
            f"--source must be {' or '.join(SOURCES)}, found {source!r}{nearest(source, SOURCES)}"
        )
    return source or "buffer"


def _whole(name: str, text: str, least: int) -> int | None:
    """The whole number that a flag gives, None where it is not given."""
    digits = text.replace("_", "").replace(",", "")
    if text and (not digits.isdecimal() or int(digits) < least):
        raise UserError(f"--{name} must be a whole number, at least {least}, found {text!r}")
    return int(digits) if text else None


def run(model: Model, options: Options) -> None:
    """Makes the images and writes them, see `export.write`.

    Raises:
      UserError: if there are no n images, the label is no class, or nothing can be written.
    """
    images, labels = MAKE[options.source](model, options)
    written = export.write(options.out, images, labels, model.class_names)
    print(f"{len(images):,} images of step {model.step:,}: {written}", flush=True)


def of_buffer(model: Model, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """The buffer's first n rows, and the classes of their chains, or else those seen in them."""
    n = len(model.buffer) if options.n is None else options.n
    if n > len(model.buffer):
        raise UserError(
            f"--n must be at most {len(model.buffer):,}, the images of the buffer, found {n:,}; "
            f"--source=fresh makes new ones"
        )
    images, labels = pictures.to_uint8(model.buffer[:n]), model.classes(n)
    return images, model.predict(images) if labels is None else labels


def fresh(model: Model, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """New images; their chains' classes, or else those seen in them."""
    n = len(model.buffer) if options.n is None else options.n
    label = _labels(model, options, n)
    with Progress(f"sampling {n:,} images", unit="") as progress:
        drawn = model.sample(_key(model, options), n, label, options.num_steps, progress=progress)
    return _with_classes(model, drawn, label)


def refined(model: Model, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """The user's images, moved towards higher density; classes as of `fresh`."""
    with Progress(f"reading {options.refine_from}", unit="images") as reading:
        images, note = image_files.load(options.refine_from, model.image_shape, reading)
    print(f"refining {note}", flush=True)
    n = len(images) if options.n is None else options.n
    if n > len(images):
        raise UserError(
            f"--n must be at most {len(images):,}, the images of {options.refine_from}, found {n:,}"
        )
    label, key = _labels(model, options, n), _key(model, options)
    with Progress(f"refining {n:,} images", unit="") as progress:
        moved = model.refine(key, images[:n], options.num_steps, label, progress=progress)
    return _with_classes(model, moved, label)


MAKE = {"buffer": of_buffer, "fresh": fresh, REFINED: refined}


def _key(model: Model, options: Options) -> jax.Array:
    seed = model.seed if options.seed is None else options.seed
    return jax.random.fold_in(run_key(seed), model.step)


def _labels(model: Model, options: Options, n: int) -> np.ndarray | int | None:
    """The classes asked for; without any, those of the model's chains, None if they have none."""
    asked = class_asked(options.label, model.class_names)
    if isinstance(asked, str):  # EACH
        return np.arange(n) % model.num_classes
    return model.classes(n) if asked is None else asked


def _with_classes(model: Model, drawn: np.ndarray, label: object) -> tuple[np.ndarray, np.ndarray]:
    images = pictures.to_uint8(drawn)
    if label is None:
        return images, model.predict(images)
    return images, row_labels(label, len(images), model.num_classes)


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
