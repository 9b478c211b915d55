"""A SLURM array script of a sweep, a task a run."""

from __future__ import annotations

import os
import pathlib
import shlex
from collections.abc import Sequence

from sadajem_jax.sweep import commands
from sadajem_jax.sweep.grid import Run

SCRIPT = """\
#!/bin/bash
# A task for each of {count} runs. Where and how long is up to you, on the command line or here:
#   sbatch --partition=... --gres=gpu:1 --time=24:00:00 {file}
# {seconds} s before its time is up a run saves and leaves, and its task is queued again.
#SBATCH --job-name=sweep
#SBATCH --array=0-{last}
#SBATCH --output={logs}/slurm-%A_%a.txt
#SBATCH --signal=TERM@{seconds}
#SBATCH --requeue
set -u
cd {folder} || exit 1

case "$SLURM_ARRAY_TASK_ID" in
{cases}
  *) echo "expected a task from 0 to {last}, found $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;
esac
status=$?
if [ "$status" -eq {stopped} ]; then
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit "$status"
"""
SECONDS = 120  # a step, and a checkpoint on a slow disk
STOPPED = 128 + 15  # main's exit status after SIGTERM


def script(runs: Sequence[Run], evaluates: bool, root: pathlib.Path, file: pathlib.Path) -> str:
    """The text of the script.

    Args:
      runs: a task each; one that is finished prints its result and ends.
      evaluates: whether an evaluation follows each training.
      root: the sweep's folder, for what the tasks print; SLURM wants it to be there before.
      file: where the script will be.
    """
    cases = "\n".join(f"  {number}) {_steps(run, evaluates)} ;;" for number, run in enumerate(runs))
    return SCRIPT.format(
        count=len(runs),
        last=len(runs) - 1,
        file=file,
        logs=root.absolute(),
        seconds=SECONDS,
        folder=shlex.quote(os.getcwd()),
        cases=cases,
        stopped=STOPPED,
    )


def _steps(run: Run, evaluates: bool) -> str:
    """A job step for each command: SLURM sends its signal to steps."""
    return " && ".join(f"srun {shlex.join(c)}" for c in commands.all_of(run, evaluates))
