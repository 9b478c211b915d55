"""Reads config files and sets fields of them, and refuses what is misspelt in one line.

ml_collections answers a misspelt field with a page of traceback, so overrides are set here.
"""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import ml_collections

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import nearest
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.settings import Settings, flat

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
INSTALLED = PACKAGE / "configs"  # where the build puts them
CONFIG_FOLDER = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent / "configs"


def shipped() -> list[str]:
    """The configs that come with the program, as they are given to --config."""
    files = sorted(CONFIG_FOLDER.glob("[a-z]*.py"))
    return [f"configs/{path.name}" for path in files if "def get_config(" in path.read_text()]


def systems() -> dict[str, str]:
    """Every system that a shipped config may be followed by, and a line on it."""
    made = _import(CONFIG_FOLDER / "systems.py").SYSTEMS
    return {name: system.__doc__.partition("\n")[0].rstrip(".") for name, system in made.items()}


def load(spec: str) -> ml_collections.ConfigDict:
    """The config of FILE or FILE:NAME, a system of its VARIANTS; locked: no unknown fields.

    Raises:
      UserError: if there is no such file or system, or the file is not a config.
    """
    file, colon, variant = spec.partition(":")
    module = _import(_find(file))
    if not hasattr(module, "get_config"):
        raise UserError(f"{file} defines no get_config(); see configs/cifar10.py")
    if not colon:
        return module.get_config().lock()
    variants = getattr(module, "VARIANTS", {})
    if variant not in variants:
        known, hint = ", ".join(variants) or "none", nearest(variant, variants)
        raise UserError(f"{file} has no system {variant!r}{hint}; it has: {known}")
    return variants[variant]().lock()


def _find(file: str) -> pathlib.Path:
    """A file of the user's, or else one that ships, given as configs/NAME.py."""
    path = pathlib.Path(file).expanduser()
    if path.is_file():
        return path
    if file in shipped():
        return CONFIG_FOLDER / path.name
    hint = nearest(file, shipped())
    raise UserError(f"no config file {file!r}{hint}; configs: {', '.join(shipped())}")


def _import(path: pathlib.Path) -> ModuleType:
    """Executes a config; `from configs import X` in it finds its neighbours, then what ships."""
    found = importlib.util.spec_from_file_location(f"configs.{path.stem}", path)
    if found is None or found.loader is None:
        raise UserError(f"{path} is not a Python file; a config is one, as configs/cifar10.py")
    for name in [n for n in sys.modules if n == "configs" or n.startswith("configs.")]:
        del sys.modules[name]
    package = ModuleType("configs")
    package.__path__ = [str(path.resolve().parent), str(CONFIG_FOLDER)]
    sys.modules["configs"] = package
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except Exception as error:  # the user's own file: say what it raised, in a line
        raise UserError(f"{path} fails with {type(error).__name__}: {error}") from error
    return module


def of_settings(settings: Settings) -> ml_collections.ConfigDict:
    """A run's settings as a config, locked."""
    return ml_collections.ConfigDict(run_settings.nested(settings)).lock()


def override(config: ml_collections.ConfigDict, overrides: Mapping[str, str]) -> None:
    """Sets dotted fields from strings, in place, each to its default's type.

    Raises:
      UserError: for an unknown field or a value of another type.
    """
    known = flat(config.to_dict())
    if "system" in overrides:
        word = overrides["system"]
        raise UserError(f"config.system is a label: a system is asked for as --config=FILE:{word}")
    for field, text in overrides.items():
        if field not in known:
            inside = [name for name in known if name.startswith(field + ".")]
            hint = f"; its fields: {', '.join(inside)}" if inside else nearest_field(field, known)
            raise UserError(f"unknown field config.{field}{hint}")
        value = _parse(field, text, type(known[field]))
        with config.unlocked():
            config.update_from_flattened_dict({field: value})


def nearest_field(field: str, known: Iterable[str]) -> str:
    """A question, " (did you mean config.X?)", and the fields there are beside it."""
    names = list(known)
    section, _, last = field.rpartition(".")
    inside = [name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == section]
    same = " or ".join(f"config.{name}" for name in names if name.split(".")[-1] == last)
    hint = nearest(last, inside, f"config.{section}.") if section else ""
    hint = hint or (f" (did you mean {same}?)" if same else nearest(field, names, "config."))
    if section and inside:
        return f"{hint}; config.{section} has {', '.join(inside)}"
    sections = dict.fromkeys(name.split(".")[0] for name in names if "." in name)
    return f"{hint}; its sections are {', '.join(sections)}: see configs/cifar10.py"


def _parse(field: str, text: str, kind: type) -> Any:
    truths = {"true": True, "1": True, "false": False, "0": False}
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    try:
        if kind is bool:
            return truths[text.lower()]
        return kind(text.replace("_", "")) if kind in (int, float) else kind(text)
    except (KeyError, ValueError):
        raise UserError(f"config.{field} must be {words[kind]}, found {text!r}") from None
