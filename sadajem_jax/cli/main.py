"""The command line: reads it, checks it, and hands over; a user's mistake is one line."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence

import ml_collections

from sadajem_jax.cli import config as config_files
from sadajem_jax.cli import rules as config_rules
from sadajem_jax.console.errors import UserError
from sadajem_jax.training import determinism
from sadajem_jax.workdir import folder as workdirs

SAMPLE_FLAGS = {"source": "", "n": "", "out": "", "label": ""}
FLAGS = {"config": "", "workdir": "", "mode": "train", **SAMPLE_FLAGS}


def run(argv: Sequence[str]) -> int:
    """Runs a command line; returns its exit status, 2 after a mistake that the user can mend."""
    try:
        return dispatch(argv)
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:  # outside a training, which has its own way to leave
        return 130
    except OSError as error:  # the disk is full, a folder is gone: nothing of ours to trace
        where = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}: free or mend it, then run this again")


def _fail(line: str) -> int:
    print(f"error: {line}", file=sys.stderr, flush=True)
    return 2


def dispatch(argv: Sequence[str]) -> int:
    """Reads the flags and calls what --mode names; returns the exit status.

    Raises:
      UserError: for any mistake in the flags or the config.
    """
    flags = config_files.read_flags(argv, FLAGS)
    mode = flags.plain["mode"]
    if mode not in MODES:
        hint = config_files.nearest(mode, MODES)
        raise UserError(f"--mode must be one of {', '.join(MODES)}, found {mode!r}{hint}")
    stray = [name for name in SAMPLE_FLAGS if flags.plain[name] and mode != "sample"]
    if stray:
        raise UserError(f"--{stray[0]} belongs to --mode=sample, found --mode={mode}")
    return MODES[mode](flags)


def train_mode(flags: config_files.Flags) -> int:
    """--mode=train: trains, or goes on, then evaluates."""
    config, workdir = read_config(flags), workdir_of(flags)
    print(f"workdir: {workdir}", flush=True)
    if config.deterministic:
        determinism.apply(workdir)
    from sadajem_jax.training import (
        train,  # the heavy imports: only once the command line is found right
    )

    return train.train(config, workdir)


def plan_mode(flags: config_files.Flags) -> int:
    """--mode=plan: prints parameters, operations, memory and time of a run."""
    config = read_config(flags)
    from sadajem_jax.cli import plan

    plan.plan(config)
    return 0


def sample_mode(flags: config_files.Flags) -> int:
    """--mode=sample: writes images of a trained model for other people's tools."""
    given = dict(flags.overrides)
    checkpoint, data_dir = given.pop("eval.checkpoint", "last"), given.pop("data.data_dir", None)
    if given:
        raise UserError(
            f"--config.{next(iter(given))} has no place in --mode=sample: the run's own config "
            f"holds, but for --config.eval.checkpoint and --config.data.data_dir"
        )
    if not flags.plain["workdir"] and not flags.plain["config"]:
        raise UserError("--mode=sample needs --workdir=W, the folder of a run")
    from sadajem_jax.inference import load, sample

    options = sample.read_options(flags.plain)
    sample.export(load.load(workdir_of(flags), checkpoint, data_dir=data_dir), options)
    return 0


def eval_mode(flags: config_files.Flags) -> int:
    """--mode=eval: evaluates what a run's folder holds."""
    if not flags.plain["workdir"] and not flags.plain["config"]:
        raise UserError("--mode=eval needs --workdir=W, the folder of a run")
    workdir = workdir_of(flags)
    config = run_config(workdir, flags.overrides)
    from sadajem_jax.evaluation import evaluate

    return evaluate.evaluate(config, workdir)


def run_config(workdir: pathlib.Path, overrides: Mapping[str, str]) -> ml_collections.ConfigDict:
    """The config of W/config.json with the overrides on top, checked.

    Fields that have come since the run was made are taken from the data set's shipped config.

    Raises:
      UserError: if there is no run, or an override would make it another one.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"expected the folder of a run, found no config.json in {workdir}")
    try:
        made = json.loads(path.read_text())
        own = f"configs/{made['data']['name']}.py"
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no config of a run, restore it: {error}") from error
    config = config_files.load(own if own in config_files.shipped() else "configs/cifar10.py")
    with config.unlocked():
        config.update(made)
    for field in overrides:
        if field not in workdirs.FREE and field.split(".")[0] not in workdirs.FREE_SECTIONS:
            raise UserError(f"config.{field} belongs to the training: only config.eval.* is free")
    config_files.override(config, overrides)
    config_rules.check(config)
    return config


MODES: dict[str, Callable[[config_files.Flags], int]] = {
    "train": train_mode,
    "plan": plan_mode,
    "sample": sample_mode,
    "eval": eval_mode,
}


def workdir_of(flags: config_files.Flags) -> pathlib.Path:
    """--workdir, or runs/<config name>."""
    return pathlib.Path(flags.plain["workdir"] or default_workdir(flags.plain["config"]))


def read_config(flags: config_files.Flags) -> ml_collections.ConfigDict:
    """The config of --config with the overrides on top, checked."""
    spec = flags.plain["config"]
    if not spec:
        raise UserError(f"expected --config=FILE; configs: {', '.join(config_files.shipped())}")
    config = config_files.load(spec)
    config_files.override(config, flags.overrides)
    config_rules.check(config)
    return config


def default_workdir(spec: str) -> str:
    """runs/<config name>, a variant after a dash: configs/cifar10.py:jem -> runs/cifar10-jem."""
    file, _, variant = spec.partition(":")
    return f"runs/{pathlib.Path(file).stem}" + (f"-{variant}" if variant else "")
