"""Arrays in one file: written whole or not at all, with a checksum inside, verified when read."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sadajem_jax.console.errors import UserError

_META = "meta"


class DamagedError(UserError):
    """The file is none of ours, or its bytes have changed since it was written."""


def checksum(tree: Any) -> str:
    """SHA-256 over the path, dtype, shape and bytes of every leaf of nested containers.

    Examples:
      >>> checksum({"a": np.zeros(2)}) == checksum({"a": np.zeros(2, np.float32)})
      False
    """
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        label = [jax.tree_util.keystr(path), str(array.dtype), list(array.shape)]
        found.update(json.dumps(label).encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Replaces `path` by an .npz of the arrays and what is to be known of them, in one step.

    Args:
      path: a reader finds the old file or the new one, never a part; its folder is created.
      arrays: by name; "meta" is taken.
      meta: anything JSON can hold.

    Raises:
      OSError: if the folder cannot be written; `path` is then as it was.
    """
    notes = {**meta, "checksum": checksum(dict(arrays))}
    data = io.BytesIO()
    np.savez(data, allow_pickle=False, **{_META: np.array(json.dumps(notes))}, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data.getbuffer())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(arrays, meta) of a file of `write`.

    Raises:
      DamagedError: if it is no such file, or the checksum inside is not the arrays'.
      OSError: if it cannot be opened.
    """
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop(_META)))
        whole = meta.pop("checksum") == checksum(arrays)
    except (ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise DamagedError(_line(path, f"{type(error).__name__} when it was read")) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DamagedError(_line(path, "a damaged archive")) from error
    if not whole:
        raise DamagedError(_line(path, "other arrays than were written"))
    return arrays, meta


def _line(path: pathlib.Path, found: str) -> str:
    return f"{path}: expected an .npz that this program wrote, found {found}; make it anew"
