"""What --mode=sample is asked for: its flags, and all that is wrong with them before a model."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import nearest
from sadajem_jax.data.specs import get_spec
from sadajem_jax.inference import export, image_files
from sadajem_jax.workdir.settings import Settings

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


def read(flags: Mapping[str, str]) -> Options:
    """Reads the flags of --mode=sample; nothing is written.

    Raises:
      UserError: where one of them cannot be what it says, whatever the run.
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


def check(options: Options, settings: Settings) -> None:
    """What can be known of a run by its settings alone: its classes, and its buffer's images.

    Raises:
      UserError: if the label is none of its classes, or there are no n images.
    """
    class_asked(options.label, get_spec(settings["data.name"]).class_names)
    held = settings["buffer.size"]
    if options.source == "buffer" and (options.n or 0) > held:
        raise UserError(
            f"--n must be at most {held:,}, the images of the buffer, found {options.n:,}; "
            f"--source=fresh makes new ones"
        )


def _source(flags: Mapping[str, str]) -> str:
    source = flags["source"]
    if flags["refine_from"]:
        if source:
            raise UserError(f"--refine_from says where chains start: leave out --source={source}")
        image_files.found(flags["refine_from"])
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
