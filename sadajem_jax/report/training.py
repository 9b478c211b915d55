"""How far a training is, from what it leaves in W on its way: the page's words before its end."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from sadajem_jax.console.errors import UserError
from sadajem_jax.workdir import files

CURVES = pathlib.Path("figures") / "training_curves.png"  # that a training draws of itself


class Training(NamedTuple):
    """What a training has told so far.

    Attributes:
      step: the last that anything is told of, 0 before.
      epoch: there, of the stream that epochs are counted on.
      total: steps that its config asks for; None where nothing says it.
      judged: {name: value} of its last evaluation on the way, with "step"; {} before one.
      grid: the last picture of its samples, and its step; None before one.
      curves: the picture of its learning curves; None where there is none.
      damaged: why its logs cannot be read; "" where they can.
    """

    step: int = 0
    epoch: float = 0.0
    total: int | None = None
    judged: Mapping[str, float] = {}
    grid: tuple[pathlib.Path, int] | None = None
    curves: pathlib.Path | None = None
    damaged: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether steps are left."""
        return self.total is not None and 0 < self.step < self.total


def read(workdir: pathlib.Path, config: Mapping[str, Any]) -> Training:
    """What W's logs and pictures say; a damaged log is said, and keeps no page from being made."""
    curves, grid = workdir / CURVES, _last_grid(workdir / "samples")
    try:
        rows = files.read_json_lines(workdir / "train_metrics.jsonl")
        judged = files.read_json_lines(workdir / "eval_metrics.jsonl")
    except UserError as error:
        return Training(grid=grid, damaged=str(error))
    if not rows:
        return Training(grid=grid)
    per_epoch = rows[-1]["step"] / rows[-1].get("epoch", math.nan)
    step = max(rows[-1]["step"], judged[-1]["step"] if judged else 0, grid[1] if grid else 0)
    return Training(
        step=step,
        epoch=step / per_epoch,
        total=_total(config.get("train", {}), per_epoch),
        judged=judged[-1] if judged else {},
        grid=grid,
        curves=curves if curves.exists() else None,
    )


def _total(config: Mapping[str, Any], steps_per_epoch: float) -> int | None:
    """The length of the run: its steps, or else its epochs of as many steps as the log has."""
    if config.get("num_steps"):
        return int(config["num_steps"])
    total = config.get("num_epochs", math.nan) * steps_per_epoch
    return None if math.isnan(total) else round(total)


def _last_grid(folder: pathlib.Path) -> tuple[pathlib.Path, int] | None:
    found = {int(path.stem.removeprefix("step_")): path for path in folder.glob("step_*.png")}
    return (found[max(found)], max(found)) if found else None
