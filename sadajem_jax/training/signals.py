"""SIGTERM and Ctrl-C: the first asks the run to save and leave, the second leaves at once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from types import FrameType, TracebackType
from typing import Self

HANDLED = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """A context in which the signals only set a flag; call it to read the flag.

    Python runs its handlers between two bytecodes, and a compilation is one long bytecode; so a
    thread listens to the file descriptor that the interpreter's C handler writes to, and a second
    signal ends the process there and then.

    Attributes:
      number: the signal received, 0 if none.
    """

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def __enter__(self) -> Self:
        """Installs the handlers (in the main thread only: elsewhere signals cannot be caught)."""
        self._is_main = threading.current_thread() is threading.main_thread()
        if self._is_main:
            self._ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            self._theirs = theirs
            self._old_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
            self._old = {number: signal.signal(number, _ignore) for number in HANDLED}
            threading.Thread(target=self._listen, args=(self._ours,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Puts the former handlers back."""
        if self._is_main:
            signal.set_wakeup_fd(self._old_fd)
            for number, handler in self._old.items():
                signal.signal(number, handler)
            self._theirs.close()  # the listener reads the end and returns

    def _listen(self, ours: socket.socket) -> None:
        with ours:
            while data := ours.recv(1):
                if data[0] in HANDLED:
                    self._received(data[0])

    def _received(self, number: int) -> None:
        if self.number:
            os._exit(128 + number)
        self.number = number
        name = signal.Signals(number).name
        print(f"{name}: saving after the running step; once more to leave at once", file=sys.stderr)
        sys.stderr.flush()


def _ignore(number: int, frame: FrameType | None) -> None:
    """The listener does the work."""
