"""A run's length, and its learning rates: a warm-up, then steps or a cosine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sadajem_jax import backend

SCHEDULES = ("steps", "cosine", "constant")
WARMUP_STEPS, WARMUP_SHARE = 1000, 0.05  # the shorter one: 1000 as released, 5% in a short run
MILESTONES, DECAY = (0.3, 0.6, 0.9), 0.2  # epochs 60, 120 and 180 of 200


def of(settings: Mapping[str, Any], total_steps: int) -> optax.Schedule:
    """The learning rates of a run's settings, over `total_steps`."""
    name, peak, decay = (settings[f"train.{x}"] for x in ("schedule", "learning_rate", "decay"))
    return learning_rate(name, peak, total_steps, milestones(settings["train.milestones"]), decay)


def milestones(text: str) -> tuple[float, ...]:
    """The shares of a run in a comma list of numbers or fractions.

    Raises:
      ValueError: if one is no number, or they do not rise from above 0 to below 1.

    Examples:
      >>> milestones("0.3,0.6,0.9"), milestones("1/2, 3/4"), milestones("")
      ((0.3, 0.6, 0.9), (0.5, 0.75), ())
    """
    try:
        shares = tuple(float(Fraction(word.strip())) for word in text.split(",") if word.strip())
    except ZeroDivisionError as error:
        raise ValueError(f"no number: {text!r}") from error
    if any(low >= high for low, high in zip((0.0, *shares), (*shares, 1.0), strict=True)):
        raise ValueError(f"shares of a run must rise from above 0 to below 1, found {text!r}")
    return shares


def learning_rate(
    name: str,
    peak: float,
    total_steps: int,
    milestones: Sequence[float] = MILESTONES,
    decay: float = DECAY,
) -> optax.Schedule:
    """Step -> learning rate.

    Linear from 0 over the warm-up; then "steps" (times `decay` at each milestone; as released,
    times 0.2 at 30, 60 and 90% of the run), "cosine" (to 0 at the end, better for SADA-JEM on
    CIFAR-10: the paper's App. A) or "constant".

    Args:
      name: one of `SCHEDULES`.
      peak: the rate after the warm-up.
      total_steps: length of the run.
      milestones: shares of the run, of "steps".
      decay: what the rate is multiplied with there.

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
        drops = {round(share * total_steps) - warmup: decay for share in milestones}
        rest = optax.piecewise_constant_schedule(peak, drops)
    elif name == "cosine":
        rest = optax.cosine_decay_schedule(peak, max(total_steps - warmup, 1))
    else:
        rest = optax.constant_schedule(peak)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), rest], [warmup])


def rates(rate: optax.Schedule, total_steps: int) -> np.ndarray:
    """What every step of a run was or will be taken with, [total_steps] float32: step n at n - 1.

    Drawn up on the host: an accelerator has other things to do.
    """
    with jax.default_device(backend.host()):
        return np.asarray(jax.jit(jax.vmap(rate))(jnp.arange(total_steps)), np.float32)


def warmup_steps(total_steps: int) -> int:
    """Length of the warm-up: min(1000, 5% of the run), at least one step."""
    return max(1, min(WARMUP_STEPS, round(WARMUP_SHARE * total_steps)))


def total_steps(settings: Mapping[str, Any], num_images: int) -> int:
    """Length of a run: num_steps where it is above 0, else num_epochs of one of the streams.

    Args:
      settings: the run's, flat.
      num_images: that it trains on, none of them held out.

    Examples:
      >>> run = {"train.num_steps": 0, "train.num_epochs": 2, "train.epoch_of": "label"}
      >>> run |= {"train.batch_size_label": 64, "train.batch_size_px": 32}
      >>> total_steps(run, 1500), total_steps(run | {"train.num_steps": 7}, 1500)
      (46, 7)
      >>> total_steps(run | {"train.epoch_of": "px"}, 1500)
      92
    """
    return settings["train.num_steps"] or settings["train.num_epochs"] * steps_per_epoch(
        settings, num_images
    )


STREAMS = ("label", "px")


def steps_per_epoch(settings: Mapping[str, Any], num_images: int) -> int:
    """Steps of one pass of the stream that epochs are counted on, its last part left out."""
    return num_images // settings[f"train.batch_size_{settings['train.epoch_of']}"]
