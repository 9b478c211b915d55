"""A command in a process of its own, heard and written down, which signals reach in order."""

from __future__ import annotations

import pathlib
import signal
import subprocess
from collections.abc import Sequence
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A signal asked the sweep to leave; the run has saved and left before."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Runner:
    """Runs commands one by one; shows what they print, and keeps it in a file.

    A command is a group of its own, so that Ctrl-C reaches it once, by us: it saves and leaves.
    A second signal is handed on, too, and makes it leave at once.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._signal = 0

    def __call__(self, argv: Sequence[str], log: pathlib.Path) -> int:
        """Runs a command to its end; returns its exit status.

        Args:
          argv: the command.
          log: what it prints is appended there.

        Raises:
          Stopped: after a signal, when the command has left.
        """
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            status = self._run(argv, log)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._signal:
            raise Stopped(self._signal)
        return status

    def _run(self, argv: Sequence[str], log: pathlib.Path) -> int:
        log.parent.mkdir(parents=True, exist_ok=True)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with (
            open(log, "a", encoding="utf-8") as file,
            subprocess.Popen(
                argv, text=True, errors="replace", start_new_session=True, **pipes
            ) as process,
        ):
            self._process = process
            if self._signal:  # it came while the process was started
                process.send_signal(self._signal)
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                file.write(line)
                file.flush()
            return process.wait()

    def _hear(self, number: int, _: FrameType | None) -> None:
        self._signal = number
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def last_words(log: pathlib.Path) -> str:
    """The last line that a command printed, its last error if it printed one."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if line.startswith("error: ")]
    return (errors or said or ["it printed nothing"])[-1][:300]
