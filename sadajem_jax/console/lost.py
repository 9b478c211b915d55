"""What a process does when another one of its run is gone: says so, says what to do, and leaves.

It shows in one of two ways. A message that is under way fails, which is an exception; or JAX's
service misses the other's heartbeat and aborts this process from a thread of its own, where no
exception reaches. The second is heard by a handler of the abort's signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sadajem_jax.console import command
from sadajem_jax.console.errors import UserError, first_line

logger = logging.getLogger(__name__)

STATUS = 75  # "a temporary failure, try again", as sysexits.h has it
GRACE = 5.0  # seconds that a process which leaves with an error waits for the others to leave too

SIGNS = re.compile(
    r"gloo [\w -]+ failed|gloo/transport|nccl (operation|communicator|error)|heartbeat"
    r"|\bbarrier timed out|\bbarrier [\w ]*failed|coordination[ _]?service",
    re.IGNORECASE,
)
"""What errors say that a lost process leaves in the others."""

APART = (
    "the processes of this run do not come together: start all of them within five minutes, give "
    "--coordinator_address=HOST:PORT that all can reach, --num_processes=N and --process_id=0 to "
    "N-1, or --num_processes=1 for a run by itself"
)

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)
_known: dict[str, Any] = {"is_joined": False, "state": lambda: "", "status": None}


def joined() -> None:
    """Takes note that the processes have come together."""
    _known["is_joined"] = True


def resumes_from(state: Callable[[], str]) -> None:
    """Takes what is asked, when a process is lost, for where the run goes on from."""
    _known["state"] = state


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """A context in which an error ends the process at once, with a line, and so does an abort."""
    handler = _Handler(_aborted)
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)
    try:
        yield
    except BaseException as error:
        _leave(_told(error))
    finally:
        ctypes.CDLL(None).signal(signal.SIGABRT, None)


def sign(error: BaseException | None) -> BaseException | None:
    """The error, or one that it came from, if it is what a lost process leaves in the others.

    Examples:
      >>> sign(ValueError("UNKNOWN: Gloo all-reduce failed: ..."))
      ValueError('UNKNOWN: Gloo all-reduce failed: ...')
      >>> sign(ValueError("INTERNAL: optimization_barrier failed to verify")) is None
      True
    """
    if error is None:
        return None
    is_own = isinstance(error, UserError | OSError) or not SIGNS.search(str(error))
    return sign(error.__cause__) if is_own else error


def line() -> str:
    """What is said."""
    if not _known["is_joined"]:
        return f"error: {APART}\n"
    return (
        "error: a process of this run was lost (its own log says more): start the same command "
        f"again for all processes, it goes on from the last checkpoint{_known['state']()}\n"
    )


def _told(error: BaseException) -> int:
    """Says what an error was; returns the exit status."""
    if found := sign(error):
        sys.stderr.write(f"{first_line(found)}\n{line()}")
        return STATUS
    if isinstance(error, UserError | OSError):
        return command.fail(error)
    logger.error("an error that the other processes may not have met", exc_info=error)
    return 1


def _leave(status: int) -> None:
    """Ends the process, together with the others where they meet the same error."""
    sys.stdout.flush()
    sys.stderr.flush()
    _known["status"] = status
    if status == STATUS:
        os._exit(status)
    import jax

    ending = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    ending.start()
    ending.join(GRACE)
    os._exit(status)


def _aborted(_: int) -> None:
    """Called by the abort, on whichever thread: Python may be in the middle of anything."""
    if _known["status"] is None:
        os.write(2, line().encode())
    os._exit(STATUS if _known["status"] is None else _known["status"])
