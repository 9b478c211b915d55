"""What a terminal shows in the middle of a training, bars and all: for a picture of it."""

from __future__ import annotations

import fcntl
import html
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

COLUMNS, ROWS = 100, 30
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #1d1f21; color: #e4e4e4 }}
pre {{ margin: 16px; font: 14px/1.45 "DejaVu Sans Mono", Menlo, Consolas, monospace }}
</style><pre>{}</pre>"""


def seen(
    command: Sequence[str],
    folder: pathlib.Path,
    environment: Mapping[str, str],
    *,
    until: str,
    seconds: float,
) -> str:
    """Starts a command in a terminal of 100 columns, and stops it by Ctrl-C in the middle.

    Args:
      command: what is typed.
      folder: where.
      environment: of the process.
      until: what it prints once it is under way.
      seconds: how long it goes on after that.

    Returns:
      The screen's lines at that moment.

    Raises:
      ValueError: if the command ends before.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    given = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "env": environment}
    with subprocess.Popen(command, cwd=folder, start_new_session=True, **given) as process:  # type: ignore[call-overload]
        os.close(theirs)
        shown = _read(ours, until, seconds)
        process.send_signal(signal.SIGINT)
        while _some(ours):  # its farewell: it waits until that is read
            pass
    os.close(ours)
    return f"$ {' '.join(command)}\n{screen(shown)}"


def _read(terminal: int, until: str, seconds: float) -> str:
    """What is printed up to `until`, and for so many seconds after it."""
    data = b""
    while until not in data.decode(errors="ignore"):
        more = _some(terminal)
        if not more:
            raise ValueError(f"expected {until!r} on the terminal, found {data.decode()[-500:]}")
        data += more
    end = time.monotonic() + seconds
    while select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
        more = _some(terminal)
        if not more:  # the command has ended
            break
        data += more
    return data.decode(errors="ignore")


def _some(terminal: int) -> bytes:
    """The next bytes; none once the other side is closed."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def screen(printed: str) -> str:
    r"""What is left to see where a carriage return begins a line anew, over the one before.

    Examples:
      >>> screen("one\r\nsome: 10%\rsome: 20%\r         \rdone\r\n")
      'one\ndone'
    """
    return "\n".join(map(_line, printed.replace("\r\n", "\n").split("\n"))).rstrip()


def _line(printed: str) -> str:
    shown = ""
    for part in printed.split("\r"):
        shown = part + shown[len(part) :]
    return shown.rstrip()


def page(text: str) -> str:
    """A page that looks like the terminal."""
    return PAGE.format(html.escape(text))
