"""The command line: `--name=value` or `--name value`, and `--config.FIELD=VALUE` for any field."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import nearest

ALONE = ("help", "version")  # flags without a value


class Flags(NamedTuple):
    """The command line: plain flags by name, and config overrides by dotted field."""

    plain: dict[str, str]
    overrides: dict[str, str]


def read(argv: Sequence[str], known: Mapping[str, str], fields: Collection[str] = ()) -> Flags:
    """Splits the command line.

    Args:
      argv: arguments after the program's name.
      known: plain flags and their defaults ("" for none).
      fields: of a config, which a flag that is not known may have been meant for.

    Returns:
      The flags, each default filled in.

    Raises:
      UserError: for a stray argument, an unknown flag, a flag without a value or given twice.
    """
    plain: dict[str, str] = {}
    overrides: dict[str, str] = {}
    rest = list(argv)
    while rest:
        given, equals, value = _name(rest.pop(0)).partition("=")
        if given.startswith("config."):
            table, name = overrides, given.removeprefix("config.")
        elif given in known:
            table, name = plain, given
        else:
            raise UserError(f"unknown flag --{given}{_meant(given, known, fields)}")
        value = value if equals else _next(given, rest)
        if name in table:
            raise UserError(f"--{given} is given twice: {table[name]!r} and {value!r}; keep one")
        table[name] = value
    return Flags({**known, **plain}, overrides)


def _name(word: str) -> str:
    if not word.startswith("--") or word == "--":
        raise UserError(
            f"expected flags as --name=value, found the stray argument {word!r}; --help lists them"
        )
    return word[2:]


def _next(name: str, rest: list[str]) -> str:
    """Takes the value of a flag without a sign of equality off the list."""
    if not rest or rest[0].startswith("--"):
        raise UserError(f"--{name} needs a value: --{name}=VALUE")
    return rest.pop(0)


def _meant(given: str, known: Iterable[str], fields: Collection[str]) -> str:
    """The flag or field that an unknown flag is near to, and all flags."""
    listed = ", ".join(f"--{name}" for name in (*known, "config.FIELD=VALUE"))
    return f"{field_of(given, fields) or nearest(given, (*known, *ALONE), '--')}; flags: {listed}"


def field_of(name: str, fields: Collection[str]) -> str:
    """A question after the config's field of that name or last word; "" without one."""
    found = [field for field in fields if field == name or field.endswith(f".{name}")]
    return f" (did you mean --config.{found[0]}?)" if found else ""
