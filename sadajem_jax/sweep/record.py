"""ROOT/sweep.json: what the sweep's own processes took and came to, for estimates and for skips."""

from __future__ import annotations

import pathlib
from typing import Any

from sadajem_jax.workdir import files
from sadajem_jax.workdir.records import read_json

FILE = "sweep.json"


class Record:
    """Seconds and exit statuses by run and stage; on the disk after each.

    Args:
      root: the sweep's folder.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self._path = root / FILE
        self._runs: dict[str, dict[str, Any]] = read_json(self._path)

    def add(self, run: str, stage: str, seconds: float, status: int, **more: Any) -> None:
        """A process's end; its seconds are added to those of earlier attempts."""
        self._runs = read_json(self._path)  # a sweep beside this one may have written since
        before = self.of(run, stage)
        entry = {"seconds": before.get("seconds", 0.0) + seconds, "status": status, **more}
        self._runs.setdefault(run, {})[stage] = entry
        files.write_json_atomically(self._path, self._runs)

    def of(self, run: str, stage: str) -> dict[str, Any]:
        """What is known of a stage; {} for nothing."""
        return self._runs.get(run, {}).get(stage, {})

    def seconds(self, run: str, stage: str) -> float | None:
        """Of all attempts, where the last one ended well."""
        known = self.of(run, stage)
        return known["seconds"] if known.get("status") == 0 else None
