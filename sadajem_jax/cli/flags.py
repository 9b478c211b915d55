"""The command line: `--name=value` or `--name value`, and `--config.FIELD=VALUE` for any field."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sadajem_jax.console.errors import UserError

HELP = ("--help", "-h")


class Flags(NamedTuple):
    """The command line: plain flags by name, and config overrides by dotted field."""

    plain: dict[str, str]
    overrides: dict[str, str]


def read(argv: Sequence[str], known: Mapping[str, str]) -> Flags:
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
        given, value = _take(rest)
        if given.startswith("config."):
            table, name = overrides, given.removeprefix("config.")
        elif given in known:
            table, name = plain, given
        else:
            hint, all_of = nearest(given, known), _listed(known)
            raise UserError(f"unknown flag --{given}{hint}; flags: {all_of}")
        if name in table:
            raise UserError(f"--{given} is given twice: {table[name]!r} and {value!r}; keep one")
        table[name] = value
    return Flags({**known, **plain}, overrides)


def _take(rest: list[str]) -> tuple[str, str]:
    """Takes a flag's name and its value off the list."""
    word = rest.pop(0)
    if not word.startswith("--") or word == "--":
        raise UserError(f"expected flags as --name=value, found the stray argument {word!r}")
    name, equals, value = word[2:].partition("=")
    if not equals:
        if not rest or rest[0].startswith("--"):
            raise UserError(f"--{name} needs a value: --{name}=VALUE")
        value = rest.pop(0)
    return name, value


def _listed(known: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in known) + ", --config.FIELD=VALUE"


def nearest(word: str, known: Iterable[str]) -> str:
    """A question, " (did you mean X?)", where one of `known` is near to `word`, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
