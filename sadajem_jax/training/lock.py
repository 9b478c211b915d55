"""One training at a time on a workdir; evaluation and sampling may run beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from sadajem_jax.console.errors import UserError


@contextlib.contextmanager
def training_lock(workdir: pathlib.Path) -> Iterator[None]:
    """Holds W/.training.lock; the system lets go of it however the process ends.

    Raises:
      UserError: if another training holds it.
    """
    with open(workdir / ".training.lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"another training is running in {workdir} (process {file.read().strip() or '?'}): "
                f"wait for it, stop it, or give another --workdir"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
