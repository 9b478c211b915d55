"""The processes of one run, joined by JAX: which is the first, and what all do alike.

The first one writes and prints. Whatever only one of them can know (a signal, a clock, what lies in
a folder) becomes the same in all of them here, so that all take the same decisions. In a run of one
process nothing is joined, imported or waited for.

A message waits for all. So work that one process may fail at by itself is cut by meetings (`meet`):
all that is sent in it is sent after one, and a process that fails goes to `fail` instead.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sadajem_jax.console import lost
from sadajem_jax.console.errors import UserError, first_line
from sadajem_jax.console.launch import Launch

HEARTBEAT = 20  # seconds without a sign of life after which a process is taken for lost
PAGE = 4096  # bytes that a message is filled up to, so that few programs are compiled for them
ELSEWHERE = "it failed in another process, whose log says why"

T = TypeVar("T")
_number, _count = 0, 1  # of this process; how many there are
_is_apart = False  # see `apart`


class Elsewhere(UserError):
    """Another process has failed, and all know it.

    Attributes:
      how: the number, above 0, that it says of it.
    """

    def __init__(self, how: int) -> None:
        super().__init__(ELSEWHERE)
        self.how = how


def number() -> int:
    """Of this process, from 0."""
    return _number


def count() -> int:
    """How many make up the run."""
    return _count


def is_first() -> bool:
    """Whether this process writes and prints."""
    return _number == 0


def is_alone() -> bool:
    """Whether no other process is to be asked or waited for: there is none, or see `apart`."""
    return _count == 1 or _is_apart


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """A context for what the others do not do at the same point: nothing is asked or sent."""
    global _is_apart
    before, _is_apart = _is_apart, True
    try:
        yield
    finally:
        _is_apart = before


@contextlib.contextmanager
def joined(launch: Launch | None) -> Iterator[None]:
    """The processes of a launch as one; None: this process by itself, and nothing is done.

    Before any other use of a device. All but the first are quiet but for errors. A process that
    meets an error leaves at once, since the others may wait for it; see `lost` for what they do.

    Raises:
      UserError: if the processes do not come together.
    """
    if launch is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(lost.watched())
        _join(launch)
        lost.joined()
        if not is_first():
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        yield


def _join(launch: Launch) -> None:
    global _number, _count
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # what joins CPUs
    jax.config.update("jax_enable_preemption_service", False)  # it keeps SIGTERM from ending us
    try:
        jax.distributed.initialize(
            coordinator_address=launch.address or None,
            num_processes=launch.processes or None,
            process_id=None if launch.cluster else launch.number,
            cluster_detection_method=launch.cluster or "deactivate",
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except Exception as error:  # of a scheduler, an address, a network
        raise UserError(f"{first_line(error)}: {lost.APART}") from error
    _number, _count = launch.number, launch.processes or jax.process_count()
    own, there = jax.local_device_count(), jax.device_count()
    if own * _count != there:
        raise UserError(
            f"every process of a run must see as many devices: this one sees {own}, all {_count} "
            f"see {there}; mend CUDA_VISIBLE_DEVICES"
        )
    _connect()


def _connect() -> None:
    """Opens the devices' connections while all processes are here.

    Later one may compile longer than the other, and gloo waits 30 s for a connection (not for a
    message).
    """
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(jax.devices()), ("all",))
    rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("all",), ()))
    ones = jax.make_array_from_callback((mesh.size,), rows, lambda _: np.ones(1, np.float32))
    jax.jit(jax.numpy.sum, out_shardings=whole)(ones).block_until_ready()
    highest(0)


def of_first(act: Callable[[], T]) -> T:
    """What `act` gives in the first process, in all of them.

    All processes must call it at the same point. What is given must be small, and known to pickle.

    Raises:
      UserError: in all, with what one of the first says; where it raised anything else, it raises
        that, and the others that it failed.
    """
    if is_alone():
        return act()
    found, error = _attempt(act) if is_first() else (None, None)
    refusal, value = _shared((_refusal(error), found))
    if error:
        raise error
    if refusal:
        raise UserError(refusal)
    return value


def _attempt(act: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What it gives, or what it raises: the others must hear of either."""
    try:
        with apart():
            return act(), None
    except Exception as error:
        return None, error


def _refusal(error: Exception | None) -> str:
    """What the others say of an error of the first."""
    return "" if error is None else str(error) if isinstance(error, UserError) else ELSEWHERE


def first_then_all(act: Callable[[], T]) -> T:
    """What `act` gives in each process: the others begin when the first has done it, and left it.

    So a data set is prepared once in a folder that all of them see.
    """
    found: list[T] = []
    of_first(lambda: found.append(act()))
    with apart():
        return found[0] if found else act()


def meet(says: int = 0) -> list[int]:
    """What each process says, by their numbers; all must come, or go to `fail`.

    Raises:
      Elsewhere: if another one has failed.
    """
    if is_alone():
        return [says]
    how, said = _met(0, says)
    if how:
        raise Elsewhere(how)
    return said


def fail(how: int) -> int:
    """Tells the others, at the next of their meetings, that this process has failed.

    Whatever they sent from there on is left out by all.

    Args:
      how: a number above 0.

    Returns:
      The highest that any of them came with.
    """
    return how if is_alone() else _met(how, 0)[0]


def _met(how: int, says: int) -> tuple[int, list[int]]:
    """The highest failure, and what each says."""
    found = gathered([how, says])
    return max(found[::2]), found[1::2]


def highest(own: int) -> int:
    """The highest of the numbers that the processes call this with, all at the same point."""
    return own if is_alone() else int(max(gathered([own])))


def gathered(own: list[int]) -> list[int]:
    """What all processes call this with at the same point, as many each, one after another.

    Args:
      own: from 0 to 2^32 - 1.
    """
    import numpy as np
    from jax.experimental import multihost_utils

    found = multihost_utils.process_allgather(np.array(own, np.uint32))
    return [int(number) for number in np.ravel(found)]


def _shared(message: Any) -> Any:
    """The first process's message, in all."""
    import numpy as np
    from jax.experimental import multihost_utils

    content = pickle.dumps(message) if is_first() else b""
    size, *_ = meet(len(content))
    page = np.zeros(-(-size // PAGE) * PAGE, np.uint8)
    page[: len(content)] = np.frombuffer(content, np.uint8)
    found = multihost_utils.broadcast_one_to_all(page)
    return pickle.loads(np.asarray(found)[:size].tobytes())
