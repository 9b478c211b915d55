"""Which balls are attacked, and what an attack takes; all sizes on the scale of [0, 1]."""

from __future__ import annotations

from typing import NamedTuple

from sadajem_jax.evaluation.autoattack import apgd, checks, fab, square
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.robustness.pgd import NUM_STEPS, Budget

LEVELS = (1, 2, 4, 8, 12, 16, 22, 30)  # the paper's eps, in 1/255, for both norms
STEP_SIZE = 2 / 255  # the paper's, for all of these
RADII = (0.25, 0.5, 1.0)  # of l_2, as the field has them; those above are small there
RADIUS_STEP = 2.5  # times the radius over the steps
NORMS = {"l_inf": "L∞", "l_2": "L2"}


class Standard(NamedTuple):
    """A ball of AutoAttack's: its name, norm, and eps."""

    name: str
    norm: str
    eps: float


STANDARD = (Standard("l_inf_8", "l_inf", 8 / 255), Standard("l_2_0.5", "l_2", 0.5))


def budgets(norm: str) -> dict[str, Budget]:
    """{name: ball and step} of PGD in a norm, in order of size.

    Examples:
      >>> list(budgets("l_2"))[-3:], budgets("l_2")["radius_0.5"].step_size
      (['radius_0.25', 'radius_0.5', 'radius_1.0'], 0.025)
    """
    found = {f"eps_{level}": Budget(level / 255, STEP_SIZE) for level in LEVELS}
    if norm == "l_2":
        step = RADIUS_STEP / NUM_STEPS
        found |= {f"radius_{radius}": Budget(radius, step * radius) for radius in RADII}
    return found


def pgd_cost(norm: str, images: int) -> Cost:
    """Of PGD where no image breaks: in each ball a gradient a step, and one pass to verify."""
    balls = len(budgets(norm))
    return Cost(forwards=images * (1 + balls), gradients=images * balls * (1 + NUM_STEPS))


def autoattack_cost(images: int, num_classes: int) -> Cost:
    """Of AutoAttack where no image breaks.

    Gradients: APGD's 101 once and for each target, FAB's 100 for each. Forwards: one more in each
    step of FAB, Square's 5,001, one to verify each pass, and two of the clean image.
    """
    targets = min(num_classes - 1, checks.MOST_TARGETS)
    dlr = targets if num_classes >= checks.FEWEST_FOR_DLR else 0
    gradients = (1 + apgd.ITERATIONS) * (1 + dlr) + fab.ITERATIONS * targets
    passes = 2 + dlr + targets
    forwards = fab.ITERATIONS * targets + 1 + square.QUERIES + passes + 2
    return Cost(forwards=float(images * forwards), gradients=float(images * gradients))
