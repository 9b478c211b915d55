"""python -m sadajem_jax: what main.py is in a checkout, wherever the package is installed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (the process's own by default); returns the exit status."""
    from sadajem_jax.cli import help as pages

    given = sys.argv[1:] if argv is None else argv
    if (page := pages.asked(given)) is not None:  # before jax is imported: at once
        print(page, end="", flush=True)
        return 0
    from sadajem_jax.cli.main import run

    return run(given)


def process() -> int:
    """Runs the process's command line and ends at once at Ctrl-C; returns the exit status.

    During imports and compilations Python's own way is a traceback at best. A training listens in
    its own way, an evaluation leaves a line: see console/listening.py.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return main()


if __name__ == "__main__":
    sys.exit(process())
