"""python -m sadajem_jax.sweep --config=... --grid FIELD=VALUE,VALUE ..."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Runs the process's command line; returns the exit status."""
    from sadajem_jax.console import command
    from sadajem_jax.sweep.command import sweep

    return command.run(sweep, sys.argv[1:])


if __name__ == "__main__":
    # Ctrl-C ends at once, without a traceback; while a run is on, it is heard, see process.py.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
