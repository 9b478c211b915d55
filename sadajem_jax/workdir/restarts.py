"""How often a run has gone back after a divergence, as W/restarts.json holds it."""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple

from sadajem_jax.console.errors import UserError
from sadajem_jax.workdir import files


class Retries(NamedTuple):
    """How often the run has gone back.

    Attributes:
      restarts: how often; part of every key.
      num_sgld_steps: K now; a run may double it each time.
      start: the step that the last retry began from.
    """

    restarts: int
    num_sgld_steps: int
    start: int = 0


def read(workdir: pathlib.Path, num_sgld_steps: int) -> Retries:
    """Where the run stands; the config's K and no restarts where nothing is written.

    Raises:
      UserError: if the file is damaged.
    """
    path = workdir / "restarts.json"
    if not path.exists():
        return Retries(0, num_sgld_steps)
    try:
        return Retries(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(
            f'{path}: expected {{"restarts": ..., "num_sgld_steps": K, "start": ...}}, found '
            f"something else ({type(error).__name__}): restore it from a backup"
        ) from error


def write(workdir: pathlib.Path, retries: Retries) -> None:
    """Writes W/restarts.json, replaced atomically."""
    files.write_json_atomically(workdir / "restarts.json", retries._asdict())
