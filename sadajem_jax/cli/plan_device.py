"""`--mode=plan --device=h100`: what a run takes on a card that need not be there."""

from __future__ import annotations

import time

import jax.numpy as jnp

from sadajem_jax.cli import plan
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.lines import wrapped
from sadajem_jax.console.progress import Progress
from sadajem_jax.console.words import duration
from sadajem_jax.gpu_program import absent, prediction, sharing
from sadajem_jax.gpu_program.prediction import Prediction
from sadajem_jax.gpu_program.roofline import Seconds
from sadajem_jax.gpu_program.targets import Target
from sadajem_jax.training import experiment
from sadajem_jax.training.memory import gib
from sadajem_jax.training.recipes import Recipe


def read_devices(text: str) -> int:
    """The number of cards that --devices gives, 1 if it is not given.

    Raises:
      UserError: if it is no whole number of at least 1.
    """
    if not text:
        return 1
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UserError(f"--devices must be a whole number, at least 1, found {text!r}")
    return int(text)


def plan_for(recipe: Recipe, target: Target, devices: int) -> None:
    """Prints whether a run fits a card, how long it is predicted to take, and what more gain.

    Args:
      recipe: of the run.
      target: the card.
      devices: that would share the batches.
    """
    experiment.require_mirrors(recipe)
    absent.shared(recipe, devices)
    steps = plan.say_run(recipe)
    print(wrapped(f"card: {target.name}; {_how()}"), flush=True)
    start = time.monotonic()
    with Progress("predicting a step", unit=""):
        found = prediction.of(recipe, target)
    if found.is_compiled:
        print(f"compiled in {duration(time.monotonic() - start)}")
    print(wrapped(memory_line(found, target, devices)))
    if recipe.network.dtype == jnp.float32:
        print(wrapped(caution(found, target)))
    print(wrapped(f"time, predicted: {_times(found.seconds, steps)}"))
    if devices > 1:
        with Progress("predicting the part of one card", unit=""):
            part = prediction.of_part(recipe, target, devices)
        print(wrapped(f"on each of {devices} cards: {memory_line(part, target, devices)}"))
        line = devices_line(found.seconds, recipe, target, devices, steps)
        print(wrapped(line), flush=True)


def _how() -> str:
    if absent.is_installed():
        return "compiling the step for it, a minute or two"
    return "estimated from shapes (pip install -r requirements-cuda.txt: from XLA's own program)"


def memory_line(found: Prediction, target: Target, devices: int) -> str:
    """Whether it fits what JAX takes of the card; only one card can take micro-batches."""
    limit = prediction.usable(target)
    whose = "by XLA's count" if found.is_compiled else "estimated"
    fits = "fits" if found.bytes <= limit else "does not fit"
    way = "set config.train.micro_batches" if devices == 1 else "take more cards"
    advice = "" if found.bytes <= limit else f"; lower the batches or {way}"
    return (
        f"memory: {gib(found.bytes)} {whose}, cuDNN's work space left out; {fits} the {gib(limit)} "
        f"that JAX takes of the card's {gib(target.memory_bytes)}{advice}"
    )


def caution(found: Prediction, target: Target) -> str:
    """What a run in float32 took on the one card that was asked, beside its prediction."""
    count, peak = (x / 1e9 for x in prediction.FLOAT32_MEASURED)
    likewise = int(found.bytes * peak / count)
    verdict = "fits" if likewise <= prediction.usable(target) else "does not fit"
    return (
        f"caution: in float32 an H100 took {peak:.1f} GB at its peak, where {count:.1f} were "
        f"counted: not explained; the like here would be {gib(likewise)}, which {verdict}"
    )


def devices_line(one: Seconds, recipe: Recipe, target: Target, devices: int, steps: int) -> str:
    """What several cards gain, and that it is arithmetic."""
    several = sharing.shared(one, recipe, target, devices)
    return (
        f"{devices} cards, by arithmetic (each takes its part of the batches): "
        f"{_times(several, steps)}; {one.total / several.total:.1f} times as fast"
    )


def _times(seconds: Seconds, steps: int) -> str:
    parts = {
        "convolutions": seconds.convolutions,
        "other kernels": seconds.others,
        "launches": seconds.launches,
        "messages": seconds.messages,
    }
    said = ", ".join(f"{name} {value * 1e3:.1f}" for name, value in parts.items() if value)
    total = seconds.total
    return f"{total * 1e3:.1f} ms a step ({said}), {duration(total * steps)} to the end"
