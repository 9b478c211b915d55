"""SADA-JEM in JAX.

  python main.py --config=configs/cifar10.py --workdir=W     trains, or goes on, then evaluates
  python main.py --config=configs/digits.py                  the same on a laptop, no download
  python main.py --mode=plan --config=configs/cifar10.py     what a run will take
  python main.py --mode=eval --workdir=W                     evaluates, and writes a report
  python main.py --mode=sample --workdir=W --out=x.npz       images for other tools

Any field of the config can be set: --config.sgld.num_steps=5
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sadajem_jax.cli.main import run


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
