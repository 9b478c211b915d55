"""The command line: reads it, checks it, and hands over; a user's mistake is one line."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

import ml_collections

from sadajem_jax import config as config_files
from sadajem_jax import config_rules
from sadajem_jax.errors import UserError

FLAGS = {"config": "", "workdir": "", "mode": "train"}
MODES = ("train",)


def run(argv: Sequence[str]) -> int:
    """Runs a command line; returns 0, or 2 after a mistake that the user can mend."""
    try:
        dispatch(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def dispatch(argv: Sequence[str]) -> None:
    """Reads the flags and calls what --mode names.

    Raises:
      UserError: for any mistake in the flags or the config.
    """
    flags = config_files.read_flags(argv, FLAGS)
    mode = flags.plain["mode"]
    if mode not in MODES:
        hint = config_files.nearest(mode, MODES)
        raise UserError(f"--mode must be one of {', '.join(MODES)}, found {mode!r}{hint}")
    config = read_config(flags)
    workdir = pathlib.Path(flags.plain["workdir"] or default_workdir(flags.plain["config"]))
    print(f"workdir: {workdir}", flush=True)
    from sadajem_jax import train  # jax and all: only once the command line is found right

    train.train(config, workdir)


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
