"""Published weights made into an .npz that needs no PyTorch and carries its checksum.

`sadajem_jax.evaluation.inception` is its command.
"""

from __future__ import annotations

import hashlib
import pathlib
import sys

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation.quality import archive, efficientnet, inception, weights

NETWORKS = {"fc.weight": inception, "_fc.weight": efficientnet}  # by a name that only one has


def convert(file: pathlib.Path, out: pathlib.Path | None = None) -> pathlib.Path:
    """Reads a published file, checks every array against its network, and writes our own.

    Args:
      file: the published .pth.
      out: what to write; by default beside the file, under its name with .npz.

    Returns:
      What was written.

    Raises:
      UserError: if the file is not there, not readable without executing it, or no network's here.
    """
    if not file.is_file():
        raise UserError(f"{file}: expected a file of published weights, found none")
    state = weights.read(file)
    network = next((NETWORKS[name] for name in NETWORKS if name in state), None)
    if network is None:
        raise UserError(f"{file}: expected Inception's or EfficientNet-Lite0's weights")
    network.from_state_dict(state)
    kept = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    meta = {
        "network": network.NAME,
        "source": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    out = file.with_suffix(".npz") if out is None else out
    archive.write(out, kept, meta)
    return out


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        print(f"usage: {weights.CONVERT} [OUT.npz]", file=sys.stderr)
        return 2
    try:
        out = convert(*(pathlib.Path(argument).expanduser() for argument in arguments))
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {out}")
    return 0
