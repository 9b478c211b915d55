"""What every command does with mistakes: a user's is one line and the exit status 2 (or 69)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from sadajem_jax.console.errors import Lacking, UserError

MISTAKE = 2
LACKING = 69  # "something is unavailable", as sysexits.h has it: cannot be done on this machine


def run(act: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Does what a command line says; returns the exit status: 2, 69 after what a user can mend."""
    try:
        return act(argv)
    except (UserError, OSError) as error:
        return fail(error)


def typed() -> list[str]:
    """The words that started this process, less its flags: to name a command as it was typed."""
    return sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]


def fail(error: UserError | OSError) -> int:
    """Says a mistake in a line; returns the exit status."""
    line = str(error)
    if isinstance(error, OSError):  # the disk is full, a folder is gone: nothing of ours to trace
        where = f" ({error.filename})" if error.filename else ""
        line = f"{error.strerror or error}{where}: free or mend it, then run this again"
    print(f"error: {line}", file=sys.stderr, flush=True)
    return LACKING if isinstance(error, Lacking) else MISTAKE


class Parser(argparse.ArgumentParser):
    """argparse's, but for a mistake, which is a UserError."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message}; {self.prog} --help shows the flags")
