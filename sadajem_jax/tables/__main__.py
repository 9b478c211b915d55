"""python -m sadajem_jax.tables W1 W2 ..."""

from __future__ import annotations

import sys

from sadajem_jax.console import command
from sadajem_jax.tables.command import tables

if __name__ == "__main__":
    sys.exit(command.run(tables, sys.argv[1:]))
