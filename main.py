"""Trains, evaluates or samples from a joint energy-based model; `--help` shows how."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line (the process's own by default); returns the exit status."""
    from sadajem_jax.cli.main import run

    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    # Ctrl-C ends at once: during imports and compilations Python's own way is a traceback at best.
    # A training listens in its own way, an evaluation leaves a line: see console/listening.py.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
