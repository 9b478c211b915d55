"""The folder of a run: made ready, and compared with what a command asks to go on with."""

from __future__ import annotations

import os
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import ml_collections

from sadajem_jax.cli import config as config_files
from sadajem_jax.console.errors import UserError
from sadajem_jax.data.specs import get_spec
from sadajem_jax.training import schedule

FREE = ("data.data_dir", "deterministic")  # change where a run computes, not what
FREE_SECTIONS = ("log", "eval", "checkpoint")
LENGTH = ("train.num_steps", "train.num_epochs")


def prepare(workdir: pathlib.Path) -> None:
    """Creates the folder, and finds out now whether it can be written.

    Raises:
      UserError: if it is a file, cannot be created or cannot be written.
    """
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir must be a folder, found the file {workdir}")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(
            f"--workdir={workdir} cannot be written ({os.strerror(error.errno or 0)}): give another"
        ) from error


def check_same_run(workdir: pathlib.Path, config: ml_collections.ConfigDict, step: int) -> None:
    """Refuses to go on with the run that is there, if this config asks for another one.

    Args:
      workdir: W.
      config: what is asked for.
      step: of the last checkpoint there.

    Raises:
      UserError: names the fields that define the result and differ, old and new.
    """
    path = workdir / "config.json"
    if path.exists():
        check_identity(config_files.from_json(path.read_text()), config, step, workdir)


def check_identity(
    old: ml_collections.ConfigDict, new: ml_collections.ConfigDict, step: int, workdir: pathlib.Path
) -> None:
    """Compares only what defines the result; data_dir, logging, cadences and eval.* are free.

    Raises:
      UserError: as `check_same_run`.
    """
    before, after = _identity(old), _identity(new)
    differ = [name for name in after if before.get(name) != after[name]]
    if all(name in LENGTH for name in differ) and _same_rates(old, new, step):
        return
    changes = ", ".join(
        f"config.{name}: {before.get(name)!r} there, {after[name]!r} asked for" for name in differ
    )
    why = ""
    if all(name in LENGTH for name in differ):
        why = f" (another length changes learning rates that the {step:,} steps done have used)"
    raise UserError(
        f"{workdir} holds another run: {changes}{why}; give the old values or another --workdir"
    )


def _identity(config: ml_collections.ConfigDict) -> dict[str, object]:
    fields = config_files.flat(config)
    return {
        name: value
        for name, value in fields.items()
        if name not in FREE and name.split(".")[0] not in FREE_SECTIONS
    }


def _same_rates(old: ml_collections.ConfigDict, new: ml_collections.ConfigDict, step: int) -> bool:
    """Whether both runs have the same learning rates over the steps done, and steps left."""
    if expected_steps(new) < step:
        return False
    before, after = (
        schedule.learning_rate(c.train.schedule, c.train.learning_rate, expected_steps(c))
        for c in (old, new)
    )
    used = jnp.arange(step)
    return bool(jnp.array_equal(jax.vmap(before)(used), jax.vmap(after)(used)))


def expected_steps(config: ml_collections.ConfigDict) -> int:
    """The run's length, from the table of data sets."""
    images = get_spec(config.data.name).num_train - config.data.val_size
    per_epoch = images // config.train.batch_size_label
    return config.train.num_steps or config.train.num_epochs * per_epoch
