"""Where the program keeps, for a user, what is made once and serves many runs."""

from __future__ import annotations

import os
import pathlib


def cache() -> pathlib.Path:
    """`SADAJEM_CACHE_DIR`, or sadajem_jax in the user's cache folder; may not exist yet."""
    users = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("SADAJEM_CACHE_DIR") or pathlib.Path(users) / "sadajem_jax")
