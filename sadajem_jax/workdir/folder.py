"""The folder of a run, made ready."""

from __future__ import annotations

import os
import pathlib
import tempfile

from sadajem_jax.console.errors import UserError


def prepare(workdir: pathlib.Path) -> None:
    """Creates the folder, and finds out now whether it can be written.

    Raises:
      UserError: if it is a file, cannot be created or cannot be written.
    """
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir must be a folder, found the file {workdir}")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be written ({os.strerror(error.errno or 0)}): give another"
        ) from error
