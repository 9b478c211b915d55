"""The command: reads the grid, and runs it, lists it or writes it for a scheduler."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

from sadajem_jax.cli import flags as command_line
from sadajem_jax.console.command import Parser
from sadajem_jax.console.errors import UserError
from sadajem_jax.sweep import commands, grid, slurm
from sadajem_jax.sweep.going import Execute, Failure, Sweep
from sadajem_jax.sweep.process import Runner, Stopped
from sadajem_jax.workdir import files

FAILED = 1


def sweep(argv: Sequence[str], execute: Execute | None = None) -> int:
    """Runs what is left of a sweep, or prints or writes its commands.

    Args:
      argv: the flags.
      execute: runs a command; by default in a process of its own.

    Returns:
      The exit status: 0 if all are finished, 1 if one failed, 128 + a signal's number after it.

    Raises:
      UserError: for a mistake in the flags, or in the config of one of the runs.
    """
    options, overrides = _read(argv)
    root = pathlib.Path(options.root).expanduser()
    axes = grid.read(options.grid)
    runs = grid.runs(options.config, axes, options.seeds, overrides, root)
    going = Sweep(runs, root, options.eval, execute or Runner())
    if options.list:
        return _list(going)
    if options.status:
        return _status(going)
    if options.slurm:
        return _slurm(going, pathlib.Path(options.slurm).expanduser())
    try:
        return _say(going, going.go())
    except Stopped as stopped:
        print(f"== stopped; {going.outlook()}: the same command goes on from there", flush=True)
        return 128 + stopped.number


def _read(argv: Sequence[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    options, rest = _parser().parse_known_args(argv)
    overrides = command_line.read(rest, {}).overrides
    if options.list + options.status + bool(options.slurm) > 1:
        raise UserError("--list, --status and --slurm are three things: give one")
    return options, overrides


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sadajem_jax.sweep",
        description="Runs a grid of settings one after another. The same command goes on after "
        "whatever stopped it; a run that fails does not stop the others.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", required=True, metavar="FILE[:NAME]", help="as main.py's")
    add("--grid", action="append", default=[], metavar="FIELD=VALUE,VALUE",
        help="values of a field, or of system: names of the config; may be repeated")  # fmt: skip
    add("--seeds", type=int, metavar="N", help="each point with the seeds 0 to N - 1")
    add("--root", default="runs/sweep", help="the runs' folders lie in it; %(default)s")
    add("--eval", action="store_true", help="evaluate each run after its training")
    add("--list", action="store_true", help="print the commands that are left, a line a run")
    add("--status", action="store_true", help="say what is left and how long it will take")
    add("--slurm", default="", metavar="FILE", help="write a SLURM array script, a task a run")
    parser.epilog = "--config.FIELD=VALUE sets a field of all runs."
    return parser


def _list(going: Sweep) -> int:
    left = [run for run in going.runs if not going.is_finished(run)]
    for run in left:
        print(commands.line(commands.all_of(run, going.evaluates)))
    finished = len(going.runs) - len(left)
    if finished:
        print(f"{finished} of {len(going.runs)} are finished and not listed", file=sys.stderr)
    return 0


def _status(going: Sweep) -> int:
    for run in going.runs:
        print(f"{'finished' if going.is_finished(run) else 'left    '}  {run.workdir}")
    print(going.outlook())
    return 0


def _slurm(going: Sweep, file: pathlib.Path) -> int:
    going.root.mkdir(parents=True, exist_ok=True)
    files.write_text_atomically(file, slurm.script(going.runs, going.evaluates, going.root, file))
    os.chmod(file, 0o755)
    print(f"{file}: an array of {len(going.runs)} tasks; sbatch {file} submits it")
    return 0


def _say(going: Sweep, failures: Sequence[Failure]) -> int:
    for failure in failures:
        print(f"failed: {failure.run.name}: {failure.why}\n  {going.log(failure.run)}")
    folders = f"{going.root}/*/"
    print(f"tables of what is there: python -m sadajem_jax.tables {folders}", flush=True)
    return FAILED if failures else 0
