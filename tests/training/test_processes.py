"""Several processes of one run, joined on this machine as they are on a cluster."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

import main
from sadajem_jax.console import lost
from sadajem_jax.workdir import state_format
from sadajem_jax.workdir.checkpoint import Checkpoints
from tests import places, runs

SECONDS = 60  # that the others may take to leave when one is lost
LENGTH = 5000  # steps: no run here comes to its end

# Two devices each, and compiled in haste: few steps are run. A minute or two on idle cores.
QUICK = "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count"

ALONE = """
import json, pathlib, sys
import jax, numpy as np
from sadajem_jax.cli import main
from sadajem_jax.data import loading
from sadajem_jax.training import experiment, recipes, sharding
from sadajem_jax.training.runner import Runner
from sadajem_jax.workdir.checkpoint import Checkpoints

W = pathlib.Path(sys.argv[1])
recipe = sharding.shared(recipes.of(main.run_config(W, {})), jax.local_device_count())
images = loading.load(recipe.spec, "train")
made = experiment.build(recipe, images, over=sharding.mesh_of(recipe))
runner, written = Runner(made), Checkpoints(W / "checkpoints", read_only=True)
logged = [json.loads(line) for line in (W / "train_metrics.jsonl").read_text().splitlines()]


def step(state, number):
    state, metrics, _ = runner.run(state, number, number + 1)
    for name, values in metrics.items():
        close = np.isclose(values[0], logged[number][name], rtol=1e-3, atol=1e-3)
        assert close, (number, name, values, logged[number])
    return state


state = made.initial_state()
for number in (0, 1):
    state = step(state, number)
like = jax.eval_shape(made.initial_state)
found = written.restore(2, like)
pairs = zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(found), strict=True)
for (path, a), b in pairs:
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3, err_msg=jax.tree_util.keystr(path))
step(found, 2)  # as the processes went on
"""


def environment(devices: int, **variables: str) -> dict[str, str]:
    """Of a process with so many CPU devices."""
    return {**os.environ, "XLA_FLAGS": f"{QUICK}={devices}", "JAX_PLATFORMS": "cpu", **variables}


def start_two(argv: list[str]) -> list[subprocess.Popen[str]]:
    """Both processes of a run, described by JAX's variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        subprocess.Popen(
            [sys.executable, "main.py", *argv],
            cwd=places.ROOT,
            env=environment(
                2,
                JAX_COORDINATOR_ADDRESS=address,
                JAX_NUM_PROCESSES="2",
                JAX_PROCESS_ID=str(number),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]


def wait_for_step(workdir: pathlib.Path, step: int, pair: list[subprocess.Popen[str]]) -> None:
    """Returns when the run has logged `step`; fails if a process ends before."""
    deadline = time.monotonic() + 600
    while max(runs.logged_steps(workdir), default=0) < step:
        ended = [process.communicate() for process in pair if process.poll() is not None]
        assert not ended and time.monotonic() < deadline, ended
        time.sleep(0.05)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """W of a run of two processes that lost one of them, resumed, and was stopped by SIGUSR1."""
    folder = tmp_path_factory.mktemp("processes") / "W"
    fields = {
        "sam__rho": 0.2,
        "checkpoint__every_steps": 2,
        "checkpoint__keep": 1000,
        "train__num_steps": LENGTH,
    }
    argv = runs.command(folder, **fields)

    pair = start_two(argv)
    wait_for_step(folder, 5, pair)
    pair[1].send_signal(signal.SIGKILL)
    begin = time.monotonic()
    said, error = pair[0].communicate(timeout=600)
    assert time.monotonic() - begin < SECONDS
    assert pair[0].returncode == lost.STATUS, error
    (line,) = [line for line in error.splitlines() if line.startswith("error: a process of this")]
    assert "start the same command again" in line and "the last checkpoint (step " in line
    assert "4 devices of 2 processes" in said and not pair[1].communicate()[0].count("step")

    saved = max(Checkpoints(folder / "checkpoints", read_only=True).steps())
    pair = start_two(argv)
    wait_for_step(folder, saved + 3, pair)
    pair[1].send_signal(signal.SIGUSR1)  # one hears it, both leave
    outputs = [process.communicate(timeout=600) for process in pair]
    assert [process.returncode for process in pair] == [128 + signal.SIGUSR1] * 2, outputs
    assert f"going on from the checkpoint of step {saved}" in outputs[0][0]
    assert "the same command goes on" in outputs[0][0]
    return folder


def test_two_processes_compute_what_one_does(workdir: pathlib.Path) -> None:
    """One process with as many devices has, to rounding, the losses and states that two had.

    So it has where it goes on from their checkpoint; no step was logged twice, and one log is kept.
    """
    logged = runs.logged_steps(workdir)
    assert logged == list(range(1, len(logged) + 1))
    script = [sys.executable, "-W", "error", "-c", ALONE, str(workdir)]
    done = subprocess.run(
        script, cwd=places.ROOT, env=environment(4), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr


def test_one_process_verifies_what_two_wrote(workdir: pathlib.Path) -> None:
    """The last checkpoint reads well by itself, and each stratum of its buffer has a checksum."""
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    found = checkpoints.read_last()
    assert found is not None and found.step == checkpoints.steps()[-1]
    assert len(found.notes["strata"]) == found.notes["settings"]["buffer.num_shards"] == 8
    found.state["buffer"][-1, 0, 0, 0] += 1e-3
    assert not state_format.is_whole(found.state, found.notes)


def test_two_processes_evaluate_as_one(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Rows shared over processes have the numbers that one process gives; the first one writes."""
    alone = shutil.copytree(workdir, tmp_path / "W")
    flags = ["--mode=eval", "--config.eval.only=accuracy,calibration"]
    pair = start_two([*flags, f"--workdir={workdir}"])
    outputs = [process.communicate(timeout=600) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    assert main.main([*flags, f"--workdir={alone}"]) == 0
    one, two = (json.loads((w / "metrics.json").read_text()) for w in (alone, workdir))
    assert two == pytest.approx(one, rel=1e-5) and "test/accuracy" in two
