"""SIGTERM and Ctrl-C: the first asks the run to save and leave, the second leaves at once."""

from __future__ import annotations

import os
import signal
import sys

from sadajem_jax.console.listening import Listener


class StopSignal(Listener):
    """A context in which the signals only set a flag; call it to read the flag.

    A second signal ends the process there and then, also in a compilation.

    Attributes:
      number: the signal received, 0 if none.
    """

    handled = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def received(self, number: int) -> None:
        """Notes the first, leaves with the second."""
        if self.number:
            os._exit(128 + number)
        self.number = number
        name = signal.Signals(number).name
        print(f"{name}: saving after the running step; once more to leave at once", file=sys.stderr)
        sys.stderr.flush()
