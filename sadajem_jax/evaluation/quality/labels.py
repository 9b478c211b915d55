"""Names of sets and networks, as the names of their numbers hold them."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

BUFFER, FRESH = "buffer", "fresh"  # sets that are no files
EFFICIENTNET = "efficientnet_lite0"
RESERVED = (BUFFER, FRESH, "released", "inception", EFFICIENTNET)


def label_of(path: str | os.PathLike[str], taken: Sequence[str] = ()) -> str:
    """The last word of a path, without .npz; numbered where it is taken.

    Args:
      path: of a folder or file.
      taken: labels that others have.

    Examples:
      >>> label_of("photos/faces.npz"), label_of("runs/fresh/"), label_of("b/a", ("a", "a_2"))
      ('faces', 'fresh_2', 'a_3')
    """
    full = pathlib.Path(os.path.abspath(pathlib.Path(path).expanduser()))
    label, number = full.name.removesuffix(".npz") or "root", 1
    found = label
    while found in (*RESERVED, *taken):
        number += 1
        found = f"{label}_{number}"
    return found
