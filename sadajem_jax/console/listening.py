"""Signals that are heard at once, also while something compiles."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading
from types import FrameType, TracebackType
from typing import Self


class Listener:
    """A context in which a thread hears of signals; see `received`.

    Python runs its handlers between two bytecodes, and a compilation is one long bytecode; so a
    thread listens to the file descriptor that the interpreter's C handler writes to.

    Attributes:
      handled: numbers of the signals.
    """

    handled: tuple[int, ...] = (signal.SIGINT,)

    def received(self, number: int) -> None:
        """What is done with a signal, on the thread."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Installs the handlers (in the main thread only: elsewhere signals cannot be caught)."""
        self._is_main = threading.current_thread() is threading.main_thread()
        if self._is_main:
            self._ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            self._theirs = theirs
            self._old_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
            self._old = {number: signal.signal(number, _ignore) for number in self.handled}
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
                if data[0] in self.handled:
                    self.received(data[0])


class Farewell(Listener):
    """A context in which Ctrl-C leaves a line on stderr, and ends the process as it does elsewhere.

    Args:
      line: what is said.
    """

    def __init__(self, line: str) -> None:
        self._line = line

    def received(self, number: int) -> None:
        """Says the line; then the signal is sent once more, to a process that does not handle it.

        Who waits for the process, a shell's loop say, so sees that it was Ctrl-C that ended it.
        """
        after = "\n" if sys.stderr.isatty() else ""  # the "^C" that a terminal shows
        print(f"{after}{self._line}", file=sys.stderr, flush=True)
        # Python's own way to a default handler is the main thread's alone, which may be compiling.
        ctypes.CDLL(None).signal(number, None)
        os.kill(os.getpid(), number)


def _ignore(number: int, frame: FrameType | None) -> None:
    """The listener does the work."""
