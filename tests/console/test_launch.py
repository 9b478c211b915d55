"""What makes a process one of several, and what it does when another one is gone."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys

import pytest

from sadajem_jax.console import launch, lost, processes
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.launch import Launch
from tests import places

GIVEN = {"coordinator_address": "node1:29500", "num_processes": "4", "process_id": "3"}
VARIABLES = {launch.FLAGS[name]: value for name, value in GIVEN.items()}
STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_PROCID": "1"}
MPI = {"OMPI_COMM_WORLD_RANK": "2"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    "flags, environment, expected",
    [
        ({}, {}, None),
        (GIVEN, {}, Launch("", "node1:29500", 4, 3)),
        ({}, VARIABLES, Launch("", "node1:29500", 4, 3)),
        ({"process_id": "0"}, VARIABLES, Launch("", "node1:29500", 4, 0)),
        ({"num_processes": "1"}, STEP | {"SLURM_STEP_NUM_TASKS": "2"}, None),
        ({}, STEP | {"SLURM_STEP_NUM_TASKS": "2"}, Launch("slurm", "", 2, 1)),
        ({}, STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "8"}, None),
        ({}, {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, None),
        ({}, MPI | {"OMPI_COMM_WORLD_SIZE": "3"}, Launch("ompi", "", 3, 2)),
        ({}, MPI | {"OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({}, POD, None),
        ({}, POD | {"JOB_COMPLETION_INDEX": "3"}, Launch("k8s", "", 0, 3)),
    ],
)
def test_only_several_processes_are_joined(
    flags: dict[str, str],
    environment: dict[str, str],
    expected: Launch | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Flags stand before variables, both before a scheduler; one task of a step joins nothing."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "kubernetes")
    assert launch.described(flags, environment) == expected


@pytest.mark.parametrize(
    "given, words",
    [
        ({"num_processes": "4"}, ["--coordinator_address is missing beside --num_processes=4"]),
        (GIVEN | {"process_id": ""}, ["--process_id is missing", "JAX_PROCESS_ID"]),
        (GIVEN | {"process_id": "4"}, ["--process_id must be below --num_processes=4, found 4"]),
        (GIVEN | {"process_id": "x"}, ["--process_id must be a whole number, found 'x'"]),
        (GIVEN | {"coordinator_address": "node1"}, ["HOST:PORT", "found 'node1'"]),
    ],
)
def test_an_incomplete_launch_is_refused(given: dict[str, str], words: list[str]) -> None:
    """One line says which flag is missing or wrong."""
    with pytest.raises(UserError) as refused:
        launch.described(given, {})
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    "said, is_lost",
    [
        ("UNKNOWN: Gloo all-reduce failed: [external/gloo/pair.cc:547] Connection closed", True),
        ("INTERNAL: NCCL operation ncclGroupEnd() failed: remote process exited", True),
        ("DEADLINE_EXCEEDED: Barrier timed out. Id: orbax_7.", True),
        ("INTERNAL: Barrier failed because: task 1 has crashed", True),
        ("UNAVAILABLE: failed to connect; remote target coordination_service", True),
        ("ABORTED: /job:jax_worker/task:1 heartbeat timeout", True),
        ("INTERNAL: 'stablehlo.optimization_barrier' op failed to verify", False),
        ("NOT_FOUND: no libnccl.so.2", False),
        ("the set was made with the barrier of another program", False),
    ],
)
def test_a_lost_process_is_told_from_an_error_of_ours(said: str, is_lost: bool) -> None:
    """What libraries say of a lost peer is known, and a like word in another error is not it."""
    error = ValueError("could not save")
    error.__cause__ = RuntimeError(said)
    assert bool(lost.sign(error)) == is_lost


def test_one_process_joins_and_asks_nothing() -> None:
    """By itself a process is the first of one, and does what all would agree on."""
    with processes.joined(None):
        assert (processes.number(), processes.count(), processes.is_first()) == (0, 1, True)
        assert processes.of_first(lambda: "found") == "found" and processes.highest(7) == 7
        assert processes.meet(3) == [3] and processes.fail(2) == 2
        assert processes.first_then_all(lambda: "found") == "found"


ENDED = """
import os, signal, sys, time
from sadajem_jax.console import processes
from sadajem_jax.console.launch import Launch
with processes.joined(Launch("", "127.0.0.1:" + sys.argv[1], 1, 0)):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
"""


def test_a_process_that_has_joined_others_is_ended_by_a_signal() -> None:
    """SIGTERM ends it where no handler of ours stands, as it does by itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = subprocess.run(
        [sys.executable, "-c", ENDED, str(port)],
        cwd=places.ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGTERM, done.stderr


LEAVES = """
import os, sys
from sadajem_jax.console import lost
from sadajem_jax.console.errors import UserError
lost.resumes_from(lambda: " (step 7)")
with lost.watched():
    {when}
    {what}
"""


@pytest.mark.parametrize(
    "what, status, words",
    [
        ("os.abort()", 75, "was lost (its own log says more): start the same command again"),
        ("os.abort()  # too early", 75, "do not come together: start all of them"),
        ("raise ValueError('UNKNOWN: Gloo all-reduce failed')", 75, "checkpoint (step 7)"),
        ("raise UserError('expected this')", 2, "error: expected this"),
        ("raise ValueError('a fault of ours')", 1, "Traceback"),
    ],
)
def test_a_process_that_cannot_go_on_says_why_and_leaves(
    what: str, status: int, words: str
) -> None:
    """A lost peer, seen by an error or an abort, has one line and status 75; a mistake has its own.

    No exception and no wait for the others keeps the process.
    """
    when = "" if "early" in what else "lost.joined()"
    script = [sys.executable, "-c", LEAVES.format(when=when, what=what)]
    done = subprocess.run(script, cwd=places.ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status and words in done.stderr, done.stderr
