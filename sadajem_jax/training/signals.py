"""SIGTERM, Ctrl-C, SIGUSR1: the first asks the run to save and leave, the second leaves at once.

Once all is saved, and only the result is to be taken, the first leaves at once, too.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from sadajem_jax.console import processes
from sadajem_jax.console.listening import Listener


class StopSignal(Listener):
    """A context in which the signals only set a flag; call it to read the flag.

    A second signal ends the process there and then, also in a compilation; not SIGUSR1, which
    schedulers may send more than once.

    Attributes:
      number: the signal received, 0 if none.
    """

    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

    def __init__(self) -> None:
        self.number, self._is_saved = 0, False

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def received(self, number: int) -> None:
        """Notes the first, leaves with the second."""
        if self.number and number != signal.SIGUSR1:
            os._exit(128 + number)
        if self.number:
            return
        self.number = number
        if self._is_saved:
            self._leave()
        name = signal.Signals(number).name
        more = "" if number == signal.SIGUSR1 else "; once more to leave at once"
        print(f"{name}: saving after the running step{more}", file=sys.stderr, flush=True)

    def all_is_saved(self) -> None:
        """From here on the first signal ends the process; one that has come already does."""
        self._is_saved = True
        if self.number:
            self._leave()

    def _leave(self) -> NoReturn:
        name = signal.Signals(self.number).name
        print(
            f"{name}: all is saved; the same command takes the result", file=sys.stderr, flush=True
        )
        os._exit(128 + self.number)


class Agreed:
    """A stop that all processes of a run hear of at the same point: one that any of them received.

    Args:
      own: this process's.

    Attributes:
      number: the signal, 0 if none.
    """

    def __init__(self, own: StopSignal) -> None:
        self._own, self.number = own, 0

    def __call__(self) -> bool:
        """Whether one has come; all processes must ask at the same point."""
        self.number = self.number or processes.highest(self._own.number)
        return self.number != 0

    def all_is_saved(self) -> None:
        """From here on a signal ends the process that hears it, and so the run."""
        self._own.all_is_saved()
