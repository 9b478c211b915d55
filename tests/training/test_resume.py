"""Kills, signals and locks, as a user meets them: main in processes of its own."""

from __future__ import annotations

import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from sadajem_jax.training.signals import StopSignal
from sadajem_jax.workdir.checkpoint import Checkpoints
from tests import places, runs


def wait_for_step(process: subprocess.Popen[str], workdir: pathlib.Path, step: int) -> None:
    """Returns when the run has logged `step`; fails if it ends before."""
    deadline = time.monotonic() + 120
    while max(runs.logged_steps(workdir), default=0) < step:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run does not come on"
        time.sleep(0.01)


def interrupt(argv: list[str], workdir: pathlib.Path, step: int, number: int) -> tuple[int, str]:
    """Runs until `step` is logged, sends the signal; returns (exit status, all output)."""
    process = runs.start(argv)
    wait_for_step(process, workdir, step)
    process.send_signal(number)
    output = "".join(process.communicate())
    return process.returncode, output


# Of SADA-JEM as it is, with SAM; long enough that a signal never comes too late.
LONG = {"sam__rho": 0.2, "train__num_steps": 120}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The workdir of a run killed at step 5, then stopped by SIGUSR1 at 31 and SIGTERM at 45."""
    workdir = tmp_path_factory.mktemp("broken")
    argv = runs.command(workdir, **LONG)
    assert interrupt(argv, workdir, 5, signal.SIGKILL)[0] == -signal.SIGKILL
    for step, number in ((31, signal.SIGUSR1), (45, signal.SIGTERM)):
        status, output = interrupt(argv, workdir, step, number)
        assert status == 128 + number
        assert f"{number.name}: saving" in output and "the same command goes on" in output
    return workdir


def test_a_scheduler_may_ask_twice() -> None:
    """SIGUSR1 once more is the same wish; it does not end the process while it saves."""
    stop = StopSignal()
    for _ in range(2):
        stop.received(signal.SIGUSR1)
    assert stop() and stop.number == signal.SIGUSR1


LAST = """
import os, signal, sys, time
import main
from sadajem_jax.training import result

def write(*given):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(60)

result.write = write
sys.exit(main.main(sys.argv[1:]))
"""


def test_a_signal_in_the_final_evaluation_leaves_at_once(tmp_path: pathlib.Path) -> None:
    """The state is saved by then: status 128 + n, and a line that the same command goes on."""
    argv = runs.command(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LAST, *argv],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 128 + signal.SIGUSR1, done.stderr
    assert "SIGUSR1: all is saved; the same command" in done.stderr
    assert max(Checkpoints(tmp_path / "checkpoints", read_only=True).steps()) == 40


def test_resumes_to_the_bit(broken: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Killed and stopped at odd steps, a run ends with an unbroken one's bits, no step twice."""
    argv = runs.command(broken, **LONG)
    last = runs.start(argv)
    wait_for_step(last, broken, 50)
    refused = runs.start(argv)  # two trainings on one workdir: the second is refused
    error = refused.communicate()[1]
    assert refused.returncode == 2 and error.count("\n") == 1
    assert "another training is running" in error
    runs.finish(last)
    runs.finish(runs.start(runs.command(tmp_path, **LONG)))
    runs.assert_same_bits(runs.final_state(broken), runs.final_state(tmp_path))
    assert runs.logged_steps(broken) == list(range(1, 121))


def test_second_signal_leaves_at_once(tmp_path: pathlib.Path) -> None:
    """Two SIGINTs while the program still compiles end it without waiting for the compilation."""
    argv = runs.command(tmp_path, sgld__num_steps=12, model__width=2)
    process = runs.start(argv, cache=False)
    assert process.stdout is not None
    while "compiling" not in (line := process.stdout.readline()):
        assert line, process.communicate()
    time.sleep(4)  # by now the step is being compiled, which takes far longer
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert time.monotonic() - begin < 2


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit (util-linux) is missing")
def test_a_checkpoint_that_cannot_be_written_stops_the_run(tmp_path: pathlib.Path) -> None:
    """Where the disk takes no more, the run stops in one line, the last good checkpoint intact."""
    argv = runs.command(tmp_path, log__samples_every_steps=1000)  # whose grids take no more either
    assert interrupt(argv, tmp_path, 9, signal.SIGTERM)[0] == 128 + signal.SIGTERM
    before = runs.final_state(tmp_path)
    full = runs.start(argv, max_file_bytes=100_000)  # a checkpoint here takes some 700 kB
    error = full.communicate()[1]
    assert full.returncode == 2
    (line,) = [line for line in error.splitlines() if line.startswith("error:")]
    assert "could not write a checkpoint" in line and "last good one is intact" in line
    runs.assert_same_bits(runs.final_state(tmp_path), before)
