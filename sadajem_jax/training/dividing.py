"""Whether devices can share a run's rows in equal parts, and the nearest fields that let them."""

from __future__ import annotations

import math
from typing import Any

from sadajem_jax.console.errors import UserError
from sadajem_jax.training.recipes import Recipe

FEWER = "let the run see {} of them (CUDA_VISIBLE_DEVICES)"
ROWS = ("buffer.num_shards", "train.batch_size_px", "train.batch_size_label")


def require(recipe: Recipe, devices: int, fewer: str = FEWER) -> None:
    """Refuses devices that cannot share a recipe's rows.

    Args:
      recipe: of the run.
      devices: how many.
      fewer: words for taking fewer, whose number is put into it.

    Raises:
      UserError: a line with all fields that are in the way, and values that go together.
    """
    settings = recipe.settings
    odd = [f"config.{name}={settings[name]}" for name in ROWS if settings[name] % devices]
    if odd:
        instead = fewer.format(_most(recipe, devices))
        raise UserError(
            f"{' and '.join(odd)} must be multiples of the {devices} devices that share them: give "
            f"{_flags(recipe, devices)}, or {instead}"
        )
    if devices > 1 and (parts := settings["train.micro_batches"]) > 1:
        raise UserError(
            f"config.train.micro_batches must be 1 on {devices} devices, found {parts}: each has "
            f"its part of a batch already; give {_flags(recipe, devices)}, which normalises alike"
        )


def _flags(recipe: Recipe, devices: int) -> str:
    """Those that set the nearest fields, where they differ from the recipe's."""
    found = nearest(recipe, devices).items()
    return " ".join(f"--config.{k}={value}" for k, value in found if recipe.settings[k] != value)


def nearest(recipe: Recipe, devices: int) -> dict[str, Any]:
    """Field -> the least value, not below the recipe's, with which so many devices share its rows.

    All rules that tie these fields together hold: strata are equal, with as many starts of each
    class, and so are the parts of a batch that are normalised apart.
    """
    found = recipe.settings
    groups = found["model.norm_groups"] * found["train.micro_batches"]
    shards = _up(found["buffer.num_shards"], devices)
    px = _up(found["train.batch_size_px"], math.lcm(shards, groups))
    classes = recipe.spec.num_classes if found["sgld.init"] == "informative" else 1
    return {
        "buffer.num_shards": shards,
        "buffer.size": _up(max(found["buffer.size"], px), math.lcm(shards, classes)),
        "train.batch_size_px": px,
        "train.batch_size_label": _up(found["train.batch_size_label"], math.lcm(devices, groups)),
        "train.micro_batches": 1,
        "model.norm_groups": groups,
    }


def _up(size: int, to: int) -> int:
    """The least multiple of `to` that is not below `size`.

    Examples:
      >>> _up(64, 9), _up(64, 8)
      (72, 64)
    """
    return size + -size % to


def _most(recipe: Recipe, devices: int) -> int:
    """The most devices, fewer than these, that can share the recipe's rows."""
    sizes = [recipe.settings[name] for name in ROWS]
    return next(n for n in range(devices - 1, 0, -1) if not any(size % n for size in sizes))
