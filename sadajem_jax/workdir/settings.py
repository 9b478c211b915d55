"""The settings of a run, as W/config.json holds them: read, filled up and compared as plain dicts.

{"data.name": "cifar10", ...}, one flat dict. No config file is executed here: fields that have come
since a run was made are taken from defaults.json, which is generated from configs/.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from sadajem_jax.console.errors import UserError
from sadajem_jax.workdir import files

Settings = dict[str, Any]
"""Every field of a config by its dotted name."""

DEFAULTS = pathlib.Path(__file__).with_name("defaults.json")
COMPLETE = "cifar10"  # the config that other data sets' say their differences from

# These change where a run computes, how long it holds out and what it tells: not what it computes.
FREE = ("data.data_dir", "deterministic", "keep_compiled", "train.max_restarts")
FREE_SECTIONS = ("log", "eval", "checkpoint")


def is_free(field: str) -> bool:
    """Whether a field defines no result.

    Examples:
      >>> is_free("eval.only"), is_free("data.data_dir"), is_free("data.name")
      (True, True, False)
    """
    return field in FREE or field.split(".")[0] in FREE_SECTIONS


def flat(nested: Mapping[str, Any], prefix: str = "") -> Settings:
    """Nested dicts as one.

    Examples:
      >>> flat({"seed": 0, "data": {"name": "digits"}})
      {'seed': 0, 'data.name': 'digits'}
    """
    fields: Settings = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            fields |= flat(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields


def nested(settings: Settings) -> dict[str, Any]:
    """The inverse of `flat`."""
    tree: dict[str, Any] = {}
    for name, value in settings.items():
        *sections, last = name.split(".")
        at = tree
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = value
    return tree


def defaults(data_name: str) -> Settings:
    """What the shipped config of a data set says; the complete config's values for other names."""
    return dict(_defaults().get(data_name) or _defaults()[COMPLETE])


@functools.cache
def _defaults() -> dict[str, Settings]:
    return json.loads(DEFAULTS.read_text())


def read(workdir: pathlib.Path) -> Settings:
    """The settings of the run in W, with defaults for the fields that have come since.

    Raises:
      UserError: if there is no W/config.json, or it is damaged.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(
            f"expected the folder of a run, what --workdir was when it was trained, found no "
            f"config.json in {workdir}"
        )
    try:
        made = flat(json.loads(path.read_text()))
        return defaults(made["data.name"]) | made
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path} is no config of a run ({type(error).__name__}): restore it, or move it away "
            f"and give the training's command again, which writes it anew"
        ) from error


def write(workdir: pathlib.Path, settings: Settings) -> None:
    """Writes W/config.json, replaced atomically."""
    text = json.dumps(nested(settings), indent=2) + "\n"
    files.write_text_atomically(workdir / "config.json", text)


def mend(workdir: pathlib.Path, settings: Settings) -> None:
    """Writes W/config.json anew where it is missing or damaged."""
    try:
        read(workdir)
    except UserError:
        write(workdir, settings)


def identity(settings: Settings) -> Settings:
    """The fields that define a run's result."""
    return {name: value for name, value in settings.items() if not is_free(name)}


def differences(old: Settings, new: Settings) -> dict[str, tuple[Any, Any]]:
    """{field: (old, new)} of the fields that define a result and differ."""
    before, after = identity(old), identity(new)
    return {
        name: (before.get(name), after.get(name))
        for name in before | after
        if before.get(name) != after.get(name)
    }
