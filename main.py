"""Trains, evaluates or samples from a joint energy-based model; `--help` shows how."""

from __future__ import annotations

import sys

from sadajem_jax.__main__ import main as main
from sadajem_jax.__main__ import process

if __name__ == "__main__":
    sys.exit(process())
