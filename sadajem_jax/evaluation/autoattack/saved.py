"""An attack's state in a file, so that one that is killed goes on where it was.

The file is replaced atomically, after every target class and, within one, now and then. It names
what it is of: another attack's is not gone on with.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import time
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sadajem_jax.evaluation.autoattack.checks import Refused
from sadajem_jax.workdir import files

FORMAT = 1


class Ledger(NamedTuple):
    """What is known of N images; the arrays are written to.

    Attributes:
      verdicts: [N] object: "stands", "misclassified", or the attack that broke the image.
      adversarial: [N, H, W, channels] the image that was found, or the clean one.
      zero_gradient: [N] bool, where targeted APGD began with a gradient of zero.
      tried: [N] bool, whom the pass under way has attacked.
      finished: names of the passes that are over.
    """

    verdicts: np.ndarray
    adversarial: np.ndarray
    zero_gradient: np.ndarray
    tried: np.ndarray
    finished: list[str]

    @classmethod
    def first(cls, verdicts: np.ndarray, images: np.ndarray) -> Ledger:
        """Before any attack."""
        no = np.zeros(len(images), bool)
        return cls(verdicts.astype(object), images.copy(), no, no.copy(), [])


class Save:
    """A ledger's file.

    Args:
      path: of the file, or None: nothing is kept.
      identity: what the attack is of, as JSON can hold it.
    """

    def __init__(self, path: str | os.PathLike[str] | None, identity: Mapping[str, Any]) -> None:
        self._path = None if path is None else pathlib.Path(path)
        self._identity = json.dumps({"format": FORMAT, **identity}, sort_keys=True)
        self._written = time.monotonic()

    def read(self) -> Ledger | None:
        """What an earlier call left; None where there is nothing, or another attack's.

        Raises:
          Refused: if the file is not one of these.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            with np.load(io.BytesIO(self._path.read_bytes())) as kept:
                found = dict(kept)
            if str(found.pop("identity")) != self._identity:
                return None
            verdicts, finished = found["verdicts"].astype(object), found["finished"].tolist()
            return Ledger(**{**found, "verdicts": verdicts, "finished": finished})
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise Refused(
                f"{self._path}: expected the saved state of an attack, found something else "
                f"({type(error).__name__}); move it away, and the attack begins anew"
            ) from error

    def write(self, ledger: Ledger, at_least_after: float = 0.0) -> None:
        """Replaces the file, unless it was written less than so many seconds ago."""
        now = time.monotonic()
        if self._path is None or now - self._written < at_least_after:
            return
        data = io.BytesIO()
        arrays: dict[str, Any] = ledger._asdict()
        arrays["verdicts"] = ledger.verdicts.astype(str)
        arrays["finished"] = np.array(ledger.finished, str)
        np.savez(data, allow_pickle=False, identity=np.array(self._identity), **arrays)
        files.write_bytes_atomically(self._path, data.getvalue())
        self._written = now
