"""Runs a part in a process group of its own, ended at its limit; what it said is kept."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import time
from typing import Any

from benchmarks.session.outcome import DONE, FAILED, NOT_HERE, TIMED_OUT, Outcome
from benchmarks.session.parts import Part
from sadajem_jax.console import command
from sadajem_jax.sweep.process import last_words

ROOT = pathlib.Path(__file__).parents[2]
GRACE = 5.0  # seconds between asking a part to leave and ending it


def run(part: Part, out: pathlib.Path, limit: float) -> Outcome:
    """Runs a part.

    Args:
      part: the part.
      out: the session's folder; NAME.out and NAME.log are written there.
      limit: seconds that it may take.
    """
    paths = [out / f"{part.name}.{kind}" for kind in ("out", "log")]
    start = time.monotonic()
    with open(paths[0], "w") as said, open(paths[1], "w") as log:
        process = subprocess.Popen(
            part.argv,
            cwd=ROOT,
            env=environment(part, out),
            stdout=said,
            stderr=log,
            start_new_session=True,
        )
        code = wait(process, limit)
    result = last_object(paths[0])
    status = DONE if code == 0 and result else _status_of(code)
    line = "" if status == DONE else _last_line(status, limit, *paths)
    seconds = time.monotonic() - start
    return Outcome(
        part.name, part.title, status, seconds, part.limit, [*part.argv], result, last_line=line
    )


def _status_of(code: int | None) -> str:
    return TIMED_OUT if code is None else NOT_HERE if code == command.LACKING else FAILED


def _last_line(status: str, limit: float, said: pathlib.Path, log: pathlib.Path) -> str:
    words = last_words(log if log.read_text(errors="replace").strip() else said)
    return f"ended after {limit:.0f} s; {words}" if status == TIMED_OUT else words


def environment(part: Part, out: pathlib.Path) -> dict[str, str]:
    """A part's: programs compiled once serve all of a session; PyTorch is left memory."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {part.xla_flags}".strip()
    given = {
        "JAX_COMPILATION_CACHE_DIR": str(out.absolute() / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONUNBUFFERED": "1",
    }
    return given | dict(os.environ) | ({"XLA_FLAGS": flags} if flags else {})


def wait(process: subprocess.Popen[Any], limit: float) -> int | None:
    """The exit status, or None at the limit; nothing of the process group is left then."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end(process)


def end(process: subprocess.Popen[Any]) -> None:
    """Asks a process group to leave, and ends what has not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def last_object(path: pathlib.Path) -> dict[str, Any]:
    """The JSON object on the last line that is one, {} where there is none."""
    for line in reversed(path.read_text(errors="replace").splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}
