"""Inception's weights on the command line; the network itself is `quality.inception`.

python -m sadajem_jax.evaluation.inception convert FILE [OUT.npz]
"""

from __future__ import annotations

import sys

from sadajem_jax.evaluation.quality import convert, weights


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if arguments[:1] != ["convert"]:
        print(f"usage: {weights.CONVERT} [OUT.npz]", file=sys.stderr)
        return 2
    return convert.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
