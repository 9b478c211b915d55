"""Whether what lies in W is the run that is asked for: settings, length and training images.

Each checkpoint carries the settings and the mark of the images it was trained on, so that a folder
knows its run whatever became of W/config.json.
"""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sadajem_jax.console.errors import UserError
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.training import schedule
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.checkpoint import Checkpoints
from sadajem_jax.workdir.settings import Settings

LENGTH = ("train.num_steps", "train.num_epochs")


class TrainingSet(NamedTuple):
    """The mark of a training split: how many images were there, and the checksum of all."""

    images: int
    checksum: str


def mark_of(images: Images) -> TrainingSet:
    """The mark of a whole training split, before any are held out."""
    return TrainingSet(len(images.labels), loading.checksum(images))


class Past(NamedTuple):
    """The run whose checkpoints lie in W.

    Attributes:
      step: of its last checkpoint.
      settings: of the run.
      trained_on: None where an older version wrote none.
    """

    step: int
    settings: Settings
    trained_on: TrainingSet | None

    def total_steps(self, official: int) -> int:
        """Its length, on the images it knows of, or else on the official number of them."""
        images = self.trained_on.images if self.trained_on else official
        return schedule.total_steps(self.settings, images - self.settings["data.val_size"])


def find(workdir: pathlib.Path, checkpoints: Checkpoints) -> Past | None:
    """The run in W by its checkpoints' notes; by W/config.json where an older version wrote them.

    Raises:
      UserError: if there are checkpoints, and nothing says of which run.
    """
    steps = checkpoints.steps()
    if not steps:
        return None
    notes = _readable_notes(checkpoints, steps)
    try:
        made, mark = notes["settings"], notes["trained_on"]
        settings = run_settings.defaults(made["data.name"]) | made
        return Past(steps[-1], settings, TrainingSet(**mark))
    except (KeyError, TypeError):  # an older version's
        return Past(steps[-1], run_settings.read(workdir), None)


def _readable_notes(checkpoints: Checkpoints, steps: list[int]) -> dict[str, Any]:
    """Notes of the last checkpoint that says which run it is of, or else {}."""
    all_notes = map(checkpoints.notes, reversed(steps))
    return next((found for found in all_notes if found.get("settings")), {})


def notes(settings: Settings, trained_on: TrainingSet, first_spread: float) -> dict[str, Any]:
    """What every checkpoint carries, to be found by `find`."""
    return {
        "settings": settings,
        "trained_on": trained_on._asdict(),
        "first_spread": first_spread,
    }


def require_same(past: Past, asked: Settings, official: int, workdir: pathlib.Path) -> None:
    """Refuses to go on with the run in W if other settings are asked for.

    Another length is the same run as long as the steps done have used the same learning rates.

    Args:
      past: what is there.
      asked: the settings asked for.
      official: training images of the official split.
      workdir: W.

    Raises:
      UserError: names the fields that define the result and differ, old and new.
    """
    differ = run_settings.differences(past.settings, asked)
    is_longer = all(name in LENGTH for name in differ)
    if is_longer and _same_rates(past, asked, official):
        return
    changes = ", ".join(
        f"config.{name}: {old!r} there, {new!r} asked for" for name, (old, new) in differ.items()
    )
    why = ""
    if is_longer:
        why = (
            f" (another length changes learning rates that the {past.step:,} steps done have used)"
        )
    raise UserError(
        f"{workdir} holds another run: {changes}{why}; give the old values or another --workdir"
    )


def _same_rates(past: Past, asked: Settings, official: int) -> bool:
    """Whether both have the same learning rates over the steps done, and no fewer steps."""
    lengths = past.total_steps(official), past._replace(settings=asked).total_steps(official)
    if lengths[0] == lengths[1]:
        return True
    if lengths[1] < past.step:
        return False
    used = jnp.arange(past.step)
    before, after = (jax.vmap(schedule.of(asked, n))(used) for n in lengths)
    return bool(jnp.array_equal(before, after))


def require_same_images(past: Past, found: TrainingSet, workdir: pathlib.Path) -> None:
    """Refuses other training images than those the run in W was trained on.

    Raises:
      UserError: with both numbers of images.
    """
    if past.trained_on is None or past.trained_on == found:
        return
    there, now = past.trained_on.images, found.images
    what = f"{there:,} training images, found {now:,}" if there != now else "other training images"
    raise UserError(
        f"{workdir} was trained on {what}; give --config.data.data_dir=FOLDER with the images it "
        f"began with, or another --workdir"
    )
