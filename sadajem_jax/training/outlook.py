"""How long a training will take on a CPU, told before it begins."""

from __future__ import annotations

import time

import numpy as np

from sadajem_jax import backend
from sadajem_jax.console.lines import wrapped
from sadajem_jax.evaluation import flops
from sadajem_jax.training.flops import forward_equivalents
from sadajem_jax.training.recipes import Recipe

DAY = 86_400.0  # seconds
SIZE = 1024  # of the matrices that the machine's rate is measured with
# A step's rate over that of a matrix product: 0.37 of a WRN-10-1 (RESULTS.md). Of a WRN-28-10 on
# two cores `tell` says 465 days, and --mode=plan, which times a smaller step, 504.
SHARE = 0.36
ADVICE = (
    "a GPU is meant for it; --mode=plan --device=h100 predicts one's time, and "
    "--config=configs/digits.py is for a laptop"
)


def tell(recipe: Recipe, steps: int) -> None:
    """Says a line before a training of so many more steps that takes a CPU longer than a day."""
    if not backend.on_cpu():
        return
    days = seconds(recipe, steps) / DAY
    if days > 1:
        so_long = "a day" if days < 1.5 else f"{days:,.0f} days"
        print(wrapped(f"this will take about {so_long} here: {ADVICE}"), flush=True)


def seconds(recipe: Recipe, steps: int) -> float:
    """What so many steps take this machine's CPU, by their operations; roughly."""
    return steps * step_tflop(recipe) / (SHARE * matrix_tflops())


def matrix_tflops() -> float:
    """10^12 operations a second of this machine in a product of matrices."""
    a, taken = np.ones((SIZE, SIZE), np.float32), []
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        taken.append(time.perf_counter() - start)
    return 2 * SIZE**3 / 1e12 / min(taken)


def forwards(recipe: Recipe) -> int:
    """Forward-equivalents of one step, in images; those of further terms are not known."""
    px = recipe.batch_size_px if recipe.constants.weights.px else 0
    label, steps = recipe.batch_size_label, recipe.constants.num_steps
    return forward_equivalents(px, label, steps, recipe.settings["sam.rho"])


def step_tflop(recipe: Recipe) -> float:
    """Operations of one step, in TFLOP."""
    return forwards(recipe) * flops.forward(recipe.network, recipe.spec.image_shape).flop / 1e12
