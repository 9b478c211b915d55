"""An attack's state in a file, so that one that is killed goes on where it was.

The file is replaced atomically, after every pass over the images and, within one, now and then. It
names what it is of: another attack's is not gone on with.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import time
import zipfile
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from sadajem_jax.console import processes
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

    def arrays(self) -> dict[str, np.ndarray]:
        """As a file holds it: words as fixed strings."""
        words = {"verdicts": self.verdicts.astype(str), "finished": np.array(self.finished, str)}
        return {**self._asdict(), **words}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Ledger:
        """From what `arrays` gave."""
        verdicts, finished = arrays["verdicts"].astype(object), arrays["finished"].tolist()
        return cls(**{**arrays, "verdicts": verdicts, "finished": finished})


class Save:
    """The file of an attack's arrays.

    Args:
      path: of the file, or None: nothing is kept.
      identity: what the attack is of, as JSON can hold it.
      names: of its arrays.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        identity: Mapping[str, Any],
        names: Collection[str],
    ) -> None:
        self._path = None if path is None else pathlib.Path(path)
        self._identity = json.dumps({"format": FORMAT, **identity}, sort_keys=True)
        self._names = set(names)
        self._written = time.monotonic()

    def read(self) -> dict[str, np.ndarray] | None:
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
            if found.keys() != self._names:
                raise KeyError(*found.keys() ^ self._names)
            return found
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise Refused(
                f"{self._path}: expected the saved state of an attack, found something else "
                f"({type(error).__name__}); move it away, and the attack begins anew"
            ) from error

    def write(self, arrays: Mapping[str, np.ndarray], at_least_after: float = 0.0) -> None:
        """Replaces the file, unless it was written less than so many seconds ago."""
        now = time.monotonic()
        if self._path is None or now - self._written < at_least_after:
            return
        if not processes.is_first():
            return
        data = io.BytesIO()
        held: Mapping[str, Any] = arrays
        np.savez(data, allow_pickle=False, identity=np.array(self._identity), **held)
        files.write_bytes_atomically(self._path, data.getvalue())
        self._written = now
