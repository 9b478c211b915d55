"""A run's folder, read as a model; nothing is written, and no config file is executed."""

from __future__ import annotations

import os
import pathlib

from sadajem_jax import backend
from sadajem_jax.console.errors import UserError
from sadajem_jax.inference import build
from sadajem_jax.inference.model import CPU_BATCH, Model
from sadajem_jax.workdir import best, records, restarts
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.checkpoint import Checkpoints, Damaged, Stored
from sadajem_jax.workdir.settings import Settings


def load(
    workdir: str | os.PathLike[str],
    checkpoint: str | int = "last",
    *,
    batch_size: int | None = None,
    data_dir: str | None = None,
) -> Model:
    """The model of a run; writes nothing, so it may be called beside the training.

    Args:
      workdir: W of the run, with W/config.json and W/checkpoints.
      checkpoint: "last"; "best" on the held-out images; "ema", the averages kept beside the last;
        or the step of a checkpoint.
      batch_size: images the device takes at a time; by default the run's eval.batch_size, on the
        CPU at most 50.
      data_dir: the folder of prepared data sets, where it is no longer the one that the run was
        trained from; the training images are read when first needed.

    Returns:
      The model.

    Raises:
      UserError: if W holds no run, or not that checkpoint.
    """
    workdir = pathlib.Path(workdir).expanduser()
    settings = run_settings.read(workdir)
    checkpoints = _opened(workdir)
    name = _named(checkpoint, checkpoints.steps())
    stored = _read(workdir, checkpoints, name)
    checkpoints.close()
    state = stored.state
    variables = {part: state.get(part, {}) for part in ("params", "batch_stats")}
    return build.model(
        settings,
        state["ema"] if name == "ema" else variables,
        state["buffer"],
        num_sgld_steps=_num_sgld_steps(workdir, settings, stored),
        data_dir=data_dir,
        step=stored.step,
        checkpoint=name,
        batch_size=batch_size or fitting(settings["eval.batch_size"]),
        test_accuracy=records.number_of(workdir, "test/accuracy", name, stored.step),
    )


def _num_sgld_steps(workdir: pathlib.Path, settings: Settings, stored: Stored) -> int:
    """K of the chains that made this checkpoint: a training may double it after a divergence."""
    if "num_sgld_steps" in stored.notes:
        return int(stored.notes["num_sgld_steps"])
    return restarts.read(workdir, settings["sgld.num_steps"]).num_sgld_steps  # an older version's


def fitting(batch_size: int) -> int:
    """The batch size, on the CPU at most 50: a padded row costs what a row costs."""
    return min(batch_size, CPU_BATCH) if backend.on_cpu() else batch_size


def _opened(workdir: pathlib.Path) -> Checkpoints:
    folder = workdir / "checkpoints"
    if folder.is_dir():
        checkpoints = Checkpoints(folder, read_only=True)
        if checkpoints.steps():
            return checkpoints
        checkpoints.close()
    raise UserError(f"{workdir} holds no checkpoint yet: wait for its first, or train it")


def _named(checkpoint: str | int, steps: list[int]) -> str:
    """The name of what is asked for: the last step by its number is "last"."""
    text = str(checkpoint)
    if text in ("last", "best", "ema"):
        return text
    if not text.isdecimal() or int(text) not in steps:
        there = ", ".join(map(str, steps))
        raise UserError(f"checkpoint must be last, best, ema or a step of {there}, found {text!r}")
    return "last" if int(text) == steps[-1] else str(int(text))


def _read(workdir: pathlib.Path, checkpoints: Checkpoints, name: str) -> Stored:
    if name == "best":
        return _best(workdir)
    found = checkpoints.read_last() if name in ("last", "ema") else _step(checkpoints, int(name))
    if found is None:  # all went since they were listed
        raise UserError(f"{workdir} holds no checkpoint any more: wait for its next, or train it")
    if name == "ema" and not found.state.get("ema"):
        raise UserError(f"{workdir} keeps no 'ema' model: it needs config.train.ema_decay above 0")
    return found


def _best(workdir: pathlib.Path) -> Stored:
    found = best.read(workdir)
    if found is not None:
        return found
    folder = workdir / "best"
    if folder.is_dir() and any(path.name.isdecimal() for path in folder.iterdir()):
        raise UserError(
            f"{workdir} keeps no readable best model: what {folder} holds is damaged; restore it "
            f"from a backup, or take --config.eval.checkpoint=last"
        )
    raise UserError(
        f"{workdir} keeps no 'best' model: it needs config.eval.every_epochs and data.val_size "
        f"above 0"
    )


def _step(checkpoints: Checkpoints, step: int) -> Stored:
    try:
        return checkpoints.read(step)
    except Damaged as error:
        there = ", ".join(map(str, checkpoints.steps())) or "none"
        if step not in checkpoints.steps():
            raise UserError(
                f"checkpoint {step} is gone, a training keeps only its last few: there are {there}"
            ) from error
        raise UserError(
            f"checkpoint {step} of {there} cannot be read, take another: {error}"
        ) from error
