"""The SLURM job, its commands stood in for: what it starts, and when it queues itself again."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

from tests import places

SRUN = """#!/bin/bash
echo "srun $*"
case "$*" in *main.py*) exit "$STATUS" ;; esac
while [[ "$1" == --* ]]; do shift; done
"$@"
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*"
"""


def job(tmp_path: pathlib.Path, status: int, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the job on one node, its training ending with a status."""
    for name, script in (("srun", SRUN), ("scontrol", SCONTROL)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
    given = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1"}
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "STATUS": str(status), **given}
    command = ["bash", str(places.ROOT / "tools" / "slurm.sbatch"), "--workdir=a b"]
    return subprocess.run(command, env=env | variables, capture_output=True, text=True)


@pytest.mark.parametrize("status, is_requeued", [(0, False), (1, False), (75, False), (138, True)])
def test_only_a_run_out_of_time_is_queued_again(
    tmp_path: pathlib.Path, status: int, is_requeued: bool
) -> None:
    """The job ends as the training did, which it starts with the flags it was given."""
    done = job(tmp_path, status, PYTHON="python7")
    assert done.returncode == status, done.stderr
    assert "srun python7 main.py --workdir=a b\n" in done.stdout
    assert ("scontrol requeue 7" in done.stdout) == is_requeued


def test_data_lie_on_each_node_while_the_run_lasts(tmp_path: pathlib.Path) -> None:
    """They are copied before, named to the run, and gone after it."""
    (tmp_path / "sets" / "digits").mkdir(parents=True)
    near = tmp_path / "near"
    near.mkdir()
    done = job(tmp_path, 138, DATA=str(tmp_path / "sets"), TMPDIR=str(near))
    assert f"main.py --workdir=a b --config.data.data_dir={near}/data-7" in done.stdout
    assert done.stdout.count("srun --nodes=1 --ntasks=1 --ntasks-per-node=1") == 2
    assert "scontrol requeue 7" in done.stdout and not list(near.iterdir())


def test_data_that_cannot_be_copied_end_the_job(tmp_path: pathlib.Path) -> None:
    """No run is started without them."""
    done = job(tmp_path, 0, DATA=str(tmp_path / "none"), TMPDIR=str(tmp_path))
    assert done.returncode == 1 and "main.py" not in done.stdout
