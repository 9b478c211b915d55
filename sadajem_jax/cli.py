"""The command line: reads it, checks it, and hands over; a user's mistake is one line."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Sequence

import ml_collections

from sadajem_jax import config as config_files
from sadajem_jax import config_rules, determinism
from sadajem_jax.errors import UserError

SAMPLE_FLAGS = {"source": "", "n": "", "out": "", "label": ""}
FLAGS = {"config": "", "workdir": "", "mode": "train", **SAMPLE_FLAGS}


def run(argv: Sequence[str]) -> int:
    """Runs a command line; returns its exit status, 2 after a mistake that the user can mend."""
    try:
        return dispatch(argv)
    except UserError as error:
        return _fail(str(error))
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
    from sadajem_jax import train  # the heavy imports: only once the command line is found right

    return train.train(config, workdir)


def sample_mode(flags: config_files.Flags) -> int:
    """--mode=sample: writes images of a trained model for other people's tools."""
    given = dict(flags.overrides)
    checkpoint = given.pop("eval.checkpoint", "last")
    if given:
        raise UserError(
            f"--config.{next(iter(given))} has no place in --mode=sample: the run's own config "
            f"holds, but for --config.eval.checkpoint"
        )
    if not flags.plain["workdir"] and not flags.plain["config"]:
        raise UserError("--mode=sample needs --workdir=W, the folder of a run")
    from sadajem_jax import model, sample

    options = sample.read_options(flags.plain)
    sample.export(model.load(workdir_of(flags), checkpoint), options)
    return 0


MODES: dict[str, Callable[[config_files.Flags], int]] = {"train": train_mode, "sample": sample_mode}


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
