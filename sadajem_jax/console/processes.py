"""The processes of one run, joined by JAX: which is the first, and what all do alike.

The first one writes and prints. Whatever only one of them can know (a signal, a clock, what lies in
a folder) becomes the same in all of them here, so that all take the same decisions. In a run of one
process nothing is joined, imported or waited for.
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


def number() -> int:
    """Of this process, from 0."""
    return _number


def count() -> int:
    """How many make up the run."""
    return _count


def is_first() -> bool:
    """Whether this process writes and prints."""
    return _number == 0


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
    """What `act` gives in the first process, in all of them; a UserError of it likewise.

    All processes must call it at the same point. What is given must be small, and known to pickle.
    """
    if _count == 1:
        return act()
    refusal, value = _shared(_attempt(act) if is_first() else None)
    if refusal:
        raise UserError(refusal)
    return value


def first_then_all(act: Callable[[], T]) -> T:
    """What `act` gives in each process: the others begin when the first has done it, and left it.

    So a data set is prepared once in a folder that all of them see.
    """
    found: list[T] = []
    of_first(lambda: found.append(act()))
    return found[0] if found else act()


def in_all(act: Callable[[], T]) -> T:
    """What `act` gives in each process, if none of them raises: so that none waits for another.

    Raises:
      UserError: where it raised in another one; what it raised itself, where it did.
    """
    try:
        found = act()
    except Exception:  # whatever it is, the others must hear of it
        highest(1)
        raise
    if highest(0):
        raise UserError(ELSEWHERE)
    return found


def _attempt(act: Callable[[], Any]) -> tuple[str, Any]:
    """("", what it gives), or (the UserError's line, None)."""
    try:
        return "", act()
    except UserError as error:
        return str(error), None


def highest(own: int) -> int:
    """The highest of the numbers that the processes call this with, all at the same point."""
    return own if _count == 1 else int(max(gathered([own])))


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
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    page = np.zeros(-(-size // PAGE) * PAGE, np.uint8)
    page[: len(content)] = np.frombuffer(content, np.uint8)
    found = multihost_utils.broadcast_one_to_all(page)
    return pickle.loads(np.asarray(found)[:size].tobytes())
