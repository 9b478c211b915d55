"""The command line: reads it, checks it, and hands over; a user's mistake is one line."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import ml_collections

from sadajem_jax.cli import config as config_files
from sadajem_jax.cli import flags as command_line
from sadajem_jax.cli.flags import Flags
from sadajem_jax.console import command, launch, processes, xla_flags
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.launch import Launch
from sadajem_jax.console.listening import Farewell
from sadajem_jax.console.words import nearest
from sadajem_jax.workdir import settings as run_settings

SAMPLE_FLAGS = dict.fromkeys(
    ("source", "n", "out", "label", "seed", "num_steps", "refine_from"), ""
)
PLAN_FLAGS = {"for": "", "device": "", "devices": ""}
LAUNCH_FLAGS = dict.fromkeys(launch.FLAGS, "")
FLAGS = {
    "config": "",
    "workdir": "",
    "mode": "train",
    **PLAN_FLAGS,
    **SAMPLE_FLAGS,
    **LAUNCH_FLAGS,
}
OWNERS = ((("sample",), SAMPLE_FLAGS), (("plan",), PLAN_FLAGS), (("train", "eval"), LAUNCH_FLAGS))
PLANS = ("train", "eval")


def run(argv: Sequence[str]) -> int:
    """Runs a command line; returns its exit status, 2 after a mistake that the user can mend."""
    return command.run(dispatch, argv)


def dispatch(argv: Sequence[str]) -> int:
    """Reads the flags and calls what --mode names; returns the exit status.

    Raises:
      UserError: for any mistake in the flags or the config.
    """
    fields = run_settings.defaults("cifar10").keys()
    flags = command_line.read(argv, FLAGS, fields)
    mode = flags.plain["mode"]
    if mode not in MODES:
        hint = nearest(mode, MODES)
        raise UserError(f"--mode must be one of {', '.join(MODES)}, found {mode!r}{hint}")
    for owners, names in OWNERS:
        stray = [name for name in names if flags.plain[name] and mode not in owners]
        if stray:
            hint = command_line.field_of(stray[0], fields)
            raise UserError(
                f"--{stray[0]} belongs to --mode={' and '.join(owners)}, found --mode={mode}{hint}"
            )
    return MODES[mode](flags)


# The heavy imports stand in the functions: only once the command line is found right. Help
# and mistakes in flags then take no JAX.


def train_mode(flags: Flags) -> int:
    """--mode=train: trains, or goes on, then evaluates."""
    config, workdir = read_config(flags), workdir_of(flags)
    described = launch.described(flags.plain, os.environ)
    make_ready(config, described)
    if config.deterministic:
        from sadajem_jax.training import determinism

        determinism.apply(workdir, described.number if described else 0)
    with processes.joined(described):
        print(f"workdir: {workdir}", flush=True)
        from sadajem_jax.training import recipes, train

        return train.train(recipes.of(config), workdir)


def plan_mode(flags: Flags) -> int:
    """--mode=plan: what a training takes, here or on --device, or with --for=eval an evaluation."""
    what = flags.plain["for"] or "train"
    if what not in PLANS:
        raise UserError(f"--for must be {' or '.join(PLANS)}, found {what!r}{nearest(what, PLANS)}")
    device, devices = flags.plain["device"], flags.plain["devices"]
    if devices and not device:
        raise UserError("--devices needs --device=NAME, the card; for example --device=h100")
    if what == "eval" and device:
        raise UserError("--device is for the plan of a training, found --for=eval")
    if what == "eval":
        return _plan_evaluation(flags)
    if device:
        return _plan_for_device(flags)
    config = read_config(flags)
    make_ready(config)
    from sadajem_jax.cli import plan
    from sadajem_jax.training import recipes

    plan.plan(recipes.of(config))
    return 0


def _plan_for_device(flags: Flags) -> int:
    """Of a training on a card that need not be there; this process then computes on the CPU."""
    from sadajem_jax.cli import plan_device
    from sadajem_jax.gpu_program import absent, targets
    from sadajem_jax.training import recipes

    target, devices = targets.load(flags.plain["device"], "--device"), flags.plain["devices"]
    config = read_config(flags)
    if absent.is_installed():
        absent.prepare()
    plan_device.plan_for(recipes.of(config), target, plan_device.read_devices(devices))
    return 0


def _plan_evaluation(flags: Flags) -> int:
    """Of an existing run where --workdir names one, else of the config."""
    is_run = bool(flags.plain["workdir"]) and not flags.plain["config"]
    config = run_config(workdir_of(flags), flags.overrides) if is_run else read_config(flags)
    from sadajem_jax.cli import plan_evaluation
    from sadajem_jax.evaluation import options

    section = options.read(config.eval.to_dict())
    plan_evaluation.plan(run_settings.flat(config.to_dict()), section)
    return 0


def systems_mode(flags: Flags) -> int:
    """--mode=systems: prints what --config=FILE:NAME may name."""
    found = config_files.systems()
    width = max(map(len, found))
    for name, line in found.items():
        print(f"{name:{width}}  {line}")
    print("\nas --config=configs/cifar10.py:NAME; what each sets: docs/systems.md", flush=True)
    return 0


def sample_mode(flags: Flags) -> int:
    """--mode=sample: writes images of a trained model for other people's tools."""
    workdir = run_folder(flags)
    given = dict(flags.overrides)
    checkpoint = given.pop("eval.checkpoint", "last")
    data_dir = given.pop("data.data_dir", None)
    if given:
        raise UserError(
            f"--config.{next(iter(given))} has no place in --mode=sample: the run's own config "
            f"holds, but for --config.eval.checkpoint and --config.data.data_dir"
        )
    from sadajem_jax.inference import export, sample_options

    options = sample_options.read(flags.plain)
    settings = run_settings.read(workdir)
    sample_options.check(options, settings)
    export.make_ready(options.out)
    print(f"loading the model of {workdir}", flush=True)
    from sadajem_jax.inference import load, sample

    make_ready(config_files.of_settings(settings))
    sample.run(load.load(workdir, checkpoint, data_dir=data_dir), options)
    return 0


def eval_mode(flags: Flags) -> int:
    """--mode=eval: evaluates what a run's folder holds."""
    workdir = run_folder(flags)
    config = run_config(workdir, flags.overrides)
    described = launch.described(flags.plain, os.environ)
    make_ready(config, described)
    with Farewell("stopped; the same command goes on"), processes.joined(described):
        print(f"workdir: {workdir}", flush=True)
        from sadajem_jax.evaluation import evaluate

        return evaluate.evaluate(config, workdir)


def make_ready(config: ml_collections.ConfigDict, described: Launch | None = None) -> None:
    """Sets what is to be set before JAX first meets a device or compiles.

    Several processes keep no compiled programs: the first alone would write them, and where each
    machine has a home of its own it would find at its next start what the others then compile.
    """
    xla_flags.round_as_written(config.model.dtype, config.eval.attack_dtype)
    if config.keep_compiled and described is None:
        from sadajem_jax.cli import compiled

        compiled.keep()


def run_config(workdir: pathlib.Path, overrides: Mapping[str, str]) -> ml_collections.ConfigDict:
    """The config of W/config.json with the overrides on top, checked.

    Raises:
      UserError: if there is no run, or an override would make it another one.
    """
    from sadajem_jax.cli import rules

    config = config_files.of_settings(run_settings.read(workdir))
    for field in overrides:
        if not run_settings.is_free(field):
            raise UserError(
                f"config.{field} belongs to the training: only config.eval.* and "
                f"config.data.data_dir are free"
            )
    config_files.override(config, overrides)
    rules.check(config, overrides)
    return config


MODES: dict[str, Callable[[Flags], int]] = {
    "train": train_mode,
    "plan": plan_mode,
    "sample": sample_mode,
    "eval": eval_mode,
    "systems": systems_mode,
}


def run_folder(flags: Flags) -> pathlib.Path:
    """The folder of an existing run.

    Raises:
      UserError: if neither --workdir nor --config says which.
    """
    if not flags.plain["workdir"] and not flags.plain["config"]:
        raise UserError(f"--mode={flags.plain['mode']} needs --workdir=W, the folder of a run")
    return workdir_of(flags)


def workdir_of(flags: Flags) -> pathlib.Path:
    """--workdir, or runs/<config name>."""
    given = flags.plain["workdir"] or default_workdir(flags.plain["config"])
    return pathlib.Path(given).expanduser()


def read_config(flags: Flags) -> ml_collections.ConfigDict:
    """The config of --config with the overrides on top, checked for a training."""
    spec = flags.plain["config"]
    if not spec:
        raise UserError(f"expected --config=FILE; configs: {', '.join(config_files.shipped())}")
    from sadajem_jax.cli import rules

    config = config_files.load(spec)
    config_files.override(config, flags.overrides)
    rules.check(config, flags.overrides)
    rules.check_training(config, flags.overrides)
    return config


def default_workdir(spec: str) -> str:
    """runs/<config name>, a system after a dash: configs/cifar10.py:jem -> runs/cifar10-jem."""
    file, _, variant = spec.partition(":")
    return f"runs/{pathlib.Path(file).stem}" + (f"-{variant}" if variant else "")
