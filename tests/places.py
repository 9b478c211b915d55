"""Where things lie: the checkout's root, and the golden files.

`SADAJEM_GOLDEN_DIR` may name another folder of files of the same layout.
"""

from __future__ import annotations

import os
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
GOLDEN = pathlib.Path(os.environ.get("SADAJEM_GOLDEN_DIR", ROOT / "tests" / "golden"))


def golden_files(key: str) -> list[pathlib.Path | None]:
    """Golden files that hold an array of that name; [None] where there is none, which must fail."""
    found = [path for path in sorted(GOLDEN.glob("*.npz")) if key in np.load(path).files]
    return [*found] or [None]


def opened(path: pathlib.Path | None) -> dict[str, np.ndarray]:
    """A golden file's arrays."""
    assert path is not None, f"expected a golden file in {GOLDEN}, found none"
    return dict(np.load(path))
