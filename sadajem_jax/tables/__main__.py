"""python -m sadajem_jax.tables W1 W2 ..."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Runs the process's command line; returns the exit status."""
    from sadajem_jax.console import command
    from sadajem_jax.tables.command import tables

    return command.run(tables, sys.argv[1:])


if __name__ == "__main__":
    # Ctrl-C ends at once, without a traceback, as in main.py.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
