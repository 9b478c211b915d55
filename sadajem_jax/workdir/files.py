"""Files that are whole or not there: atomic writes, and logs of one JSON object a line.

A run may be killed at any moment. A file written here is either the old one or the new one, and
a log loses at most its last line, which `truncate_json_lines` drops when the run resumes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sadajem_jax.console.errors import UserError


def write_bytes_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Replaces `path` by a file that holds `data`, in one step; creates its folder.

    Args:
      path: the file to write; a reader finds the old content or the new, never a part of it.
      data: the new content.

    Raises:
      OSError: if the folder cannot be written; `path` is then as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because os.replace is atomic only inside one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            # Without it a crash of the machine may leave the new name on an empty file.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Replaces `path` by a UTF-8 file that holds `text`; see `write_bytes_atomically`."""
    write_bytes_atomically(path, text.encode())


def write_json_atomically(path: str | os.PathLike[str], obj: Any) -> None:
    """Replaces `path` by `obj` as indented JSON; see `write_bytes_atomically`.

    Args:
      path: the file to write.
      obj: anything JSON can hold, and NumPy and JAX scalars and arrays, which become numbers and
        nested lists. As in Python's json module, NaN and infinities are written by these names.

    Raises:
      TypeError: if `obj` holds anything else; `path` is then as it was.
    """
    write_text_atomically(path, json.dumps(obj, indent=2, default=_plain) + "\n")


def append_json_line(path: str | os.PathLike[str], obj: Any) -> None:
    """Appends `obj` as one line of JSON to `path`; creates the file and its folder.

    Args:
      path: the log.
      obj: as in `write_json_atomically`.

    Raises:
      TypeError: if `obj` holds what JSON cannot; `path` is then as it was.
    """
    line = json.dumps(obj, default=_plain) + "\n"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(line)


def truncate_json_lines(path: str | os.PathLike[str], last_step: int) -> None:
    """Drops from a log what a run resumed after `last_step` will write again.

    Keeps the lines whose "step" is at most `last_step`, and drops a last line that the end of the
    run tore. A log that does not exist stays so.

    Args:
      path: a log of `append_json_line`, each object with an integer "step".
      last_step: the last step whose results the run still has.

    Raises:
      UserError: if a line other than the last is not a JSON object with a "step".
    """
    path = Path(path)
    if not path.exists():
        return
    lines = path.read_bytes().splitlines()
    kept = []
    for number, line in enumerate(lines, start=1):
        try:
            step = json.loads(line)["step"]
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):
                break
            raise UserError(
                f'{path}, line {number}: expected a JSON object with a "step", found '
                f"{line[:80]!r}. Only the last line of a log can be torn, so something else wrote "
                "this file: repair that line, or move the file away."
            ) from error
        if step <= last_step:
            kept.append(line + b"\n")
    write_bytes_atomically(path, b"".join(kept))


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows of a log of `append_json_line`; [] where there is none.

    A last line torn by a kill, or by a training that is writing it now, is left out.

    Raises:
      UserError: if a line other than the last is no JSON.
    """
    path = Path(path)
    lines = path.read_text().splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise UserError(
                    f"{path}, line {number}: expected JSON, found {line[:60]!r}"
                ) from None
    return rows


def _plain(value: Any) -> Any:
    """The numbers and lists of a NumPy or JAX scalar or array, for json.dumps."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"expected what JSON can hold, found {type(value).__name__}: {value!r}")
