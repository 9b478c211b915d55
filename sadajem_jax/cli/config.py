"""Reads a config file and the flags on top of it, and refuses what cannot be run.

ml_collections answers a misspelt field with a page of traceback, so main's flags are read here:
`--config=FILE[:VARIANT]`, `--config.FIELD=VALUE` (or with a space), and plain flags.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import ml_collections

from sadajem_jax.console.errors import UserError

CONFIG_FOLDER = pathlib.Path(__file__).resolve().parents[2] / "configs"


class Flags(NamedTuple):
    """The command line: plain flags by name, and config overrides by dotted field."""

    plain: dict[str, str]
    overrides: dict[str, str]


def read_flags(argv: Sequence[str], known: Mapping[str, str]) -> Flags:
    """Splits the command line.

    Args:
      argv: arguments after the program's name.
      known: plain flags and their defaults ("" for none).

    Returns:
      The flags, each default filled in.

    Raises:
      UserError: for a stray argument, an unknown flag, a flag without a value or given twice.
    """
    plain: dict[str, str] = {}
    overrides: dict[str, str] = {}
    rest = list(argv)
    while rest:
        name, value = _take_flag(rest)
        if name.startswith("config."):
            table, name = overrides, name.removeprefix("config.")
        elif name in known:
            table = plain
        else:
            raise UserError(f"unknown flag --{name}{nearest(name, known)}; flags: {_flags(known)}")
        if name in table:
            raise UserError(f"--{name} is given twice: {table[name]!r} and {value!r}; keep one")
        table[name] = value
    return Flags({**known, **plain}, overrides)


def _take_flag(rest: list[str]) -> tuple[str, str]:
    word = rest.pop(0)
    if not word.startswith("--") or word == "--":
        raise UserError(f"expected flags as --name=value, found the stray argument {word!r}")
    name, equals, value = word[2:].partition("=")
    if not equals:
        if not rest or rest[0].startswith("--"):
            raise UserError(f"--{name} needs a value: --{name}=VALUE")
        value = rest.pop(0)
    return name, value


def _flags(known: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in known) + ", --config.FIELD=VALUE"


def nearest(word: str, known: Iterable[str]) -> str:
    """A question, " (did you mean X?)", where one of `known` is near to `word`, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def shipped() -> list[str]:
    """The configs that come with the program, as they are given to --config."""
    files = sorted(CONFIG_FOLDER.glob("[a-z]*.py"))
    return [f"configs/{path.name}" for path in files]


def load(spec: str) -> ml_collections.ConfigDict:
    """The config of FILE or FILE:VARIANT, unlocked for nothing: unknown fields cannot be set.

    Raises:
      UserError: if there is no such file or variant, or the file is not a config.
    """
    file, _, variant = spec.partition(":")
    path = pathlib.Path(file)
    if not path.is_file() and (CONFIG_FOLDER.parent / file).is_file():
        path = CONFIG_FOLDER.parent / file
    if not path.is_file():
        hint = nearest(file, shipped())
        raise UserError(f"no config file {file!r}{hint}; configs: {', '.join(shipped())}")
    module = _import(path)
    if not hasattr(module, "get_config"):
        raise UserError(f"{file} defines no get_config(); see configs/cifar10.py")
    if not variant:
        return module.get_config().lock()
    variants = getattr(module, "VARIANTS", {})
    if variant not in variants:
        known = ", ".join(variants) or "none"
        raise UserError(f"{file} has no variant {variant!r}; it has: {known}")
    return variants[variant]().lock()


def _import(path: pathlib.Path) -> ModuleType:
    parent = str(CONFIG_FOLDER.parent)
    if parent not in sys.path:
        sys.path.insert(0, parent)
    found = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    if found is None or found.loader is None:
        raise UserError(f"{path} is not a Python file; a config is one, as configs/cifar10.py")
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except Exception as error:  # the user's own file: say what it raised, in a line
        raise UserError(f"{path} fails with {type(error).__name__}: {error}") from error
    return module


def override(config: ml_collections.ConfigDict, overrides: Mapping[str, str]) -> None:
    """Sets dotted fields from strings, in place, each to its default's type.

    Raises:
      UserError: for an unknown field or a value of another type.
    """
    known = flat(config)
    for field, text in overrides.items():
        if field not in known:
            inside = [name for name in known if name.startswith(field + ".")]
            hint = f"; its fields: {', '.join(inside)}" if inside else nearest_field(field, known)
            raise UserError(f"unknown field config.{field}{hint}")
        value = _parse(field, text, type(known[field]))
        with config.unlocked():
            config.update_from_flattened_dict({field: value})


def nearest_field(field: str, known: Iterable[str]) -> str:
    """A question, " (did you mean config.X?)", looking at whole names and at last words."""
    names = list(known)
    close = difflib.get_close_matches(field, names, n=1)
    last = [name for name in names if name.split(".")[-1] == field.split(".")[-1]]
    best = (last or close)[:1]
    return f" (did you mean config.{best[0]}?)" if best else "; see configs/cifar10.py"


def _parse(field: str, text: str, kind: type) -> Any:
    truths = {"true": True, "1": True, "false": False, "0": False}
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    try:
        if kind is bool:
            return truths[text.lower()]
        return kind(text.replace("_", "")) if kind in (int, float) else kind(text)
    except (KeyError, ValueError):
        raise UserError(f"config.{field} must be {words[kind]}, found {text!r}") from None


def flat(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as {dotted field: value}."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            fields |= {f"{name}.{inner}": v for inner, v in flat(value).items()}
        else:
            fields[name] = value
    return fields


def to_json(config: ml_collections.ConfigDict) -> str:
    """The resolved config, as W/config.json holds it."""
    return json.dumps(config.to_dict(), indent=2) + "\n"


def from_json(text: str) -> ml_collections.ConfigDict:
    """The inverse of `to_json`; fields that have come since get configs/cifar10.py's values."""
    config = load("configs/cifar10.py")
    with config.unlocked():
        config.update(json.loads(text))
    return config
