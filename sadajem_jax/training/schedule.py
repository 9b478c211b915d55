"""A run's length, and its learning rates: a warm-up, then steps or a cosine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optax

SCHEDULES = ("steps", "cosine", "constant")
WARMUP_STEPS, WARMUP_SHARE = 1000, 0.05  # the shorter one: 1000 as released, 5% in a short run
MILESTONES, DECAY = (0.3, 0.6, 0.9), 0.2  # epochs 60, 120 and 180 of 200


def learning_rate(name: str, peak: float, total_steps: int) -> optax.Schedule:
    """Step -> learning rate.

    Linear from 0 over the warm-up; then "steps" (times 0.2 at 30, 60 and 90% of the run, as
    released), "cosine" (to 0 at the end, better for SADA-JEM on CIFAR-10: the paper's App. A) or
    "constant".

    Args:
      name: one of `SCHEDULES`.
      peak: the rate after the warm-up.
      total_steps: length of the run.

    Raises:
      ValueError: for another name.

    Examples:
      >>> rate = learning_rate("steps", 0.1, 1000)
      >>> [round(float(rate(s)), 4) for s in (0, 25, 50, 299, 300, 999)]
      [0.0, 0.05, 0.1, 0.1, 0.02, 0.0008]
    """
    if name not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, found {name!r}")
    warmup = warmup_steps(total_steps)
    if name == "steps":
        drops = {round(share * total_steps) - warmup: DECAY for share in MILESTONES}
        rest = optax.piecewise_constant_schedule(peak, drops)
    elif name == "cosine":
        rest = optax.cosine_decay_schedule(peak, max(total_steps - warmup, 1))
    else:
        rest = optax.constant_schedule(peak)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), rest], [warmup])


def warmup_steps(total_steps: int) -> int:
    """Length of the warm-up: min(1000, 5% of the run), at least one step."""
    return max(1, min(WARMUP_STEPS, round(WARMUP_SHARE * total_steps)))


def total_steps(settings: Mapping[str, Any], num_images: int) -> int:
    """Length of a run: num_steps where it is above 0, else num_epochs of the labelled stream.

    Args:
      settings: the run's, flat.
      num_images: that it trains on, none of them held out.

    Examples:
      >>> run = {"train.num_steps": 0, "train.num_epochs": 2, "train.batch_size_label": 64}
      >>> total_steps(run, 1500), total_steps(run | {"train.num_steps": 7}, 1500)
      (46, 7)
    """
    per_epoch = num_images // settings["train.batch_size_label"]
    return settings["train.num_steps"] or settings["train.num_epochs"] * per_epoch
