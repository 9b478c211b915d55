"""Which balls are attacked, and what an attack takes; all sizes on the scale of [0, 1]."""

from __future__ import annotations

from typing import NamedTuple

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.autoattack import apgd, checks, fab, square
from sadajem_jax.evaluation.costs import GRADIENT_FORWARDS, Cost, total
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


def autoattack_passes(num_classes: int) -> dict[str, Cost]:
    """{pass: what it takes of one image that stands}, as `autoattack.run` names and orders them.

    APGD takes 101 gradients, FAB 100 and as many forwards, Square 5,001 forwards, and each of them
    one more, to verify.

    Examples:
      >>> list(autoattack_passes(4))  # three targets
      ['apgd-ce', 'apgd-t 1/3', ..., 'fab-t 3/3', 'square']
      >>> list(autoattack_passes(3))  # and no targeted DLR
      ['apgd-ce', 'fab-t 1/2', 'fab-t 2/2', 'square']
    """
    targets = range(1, min(num_classes - 1, checks.MOST_TARGETS) + 1)
    ranks = [f"{rank}/{len(targets)}" for rank in targets] if len(targets) > 1 else [""]
    ascent = Cost(forwards=1, gradients=1 + apgd.ITERATIONS)
    walk = Cost(forwards=fab.ITERATIONS + 1, gradients=fab.ITERATIONS)
    found = {"apgd-ce": ascent}
    if num_classes >= checks.FEWEST_FOR_DLR:
        found |= {f"apgd-t {rank}".strip(): ascent for rank in ranks}
    found |= {f"fab-t {rank}".strip(): walk for rank in ranks}
    return found | {"square": Cost(forwards=1 + square.QUERIES + 1)}


def autoattack_cost(images: int, num_classes: int) -> Cost:
    """Of AutoAttack where no image breaks: its passes, and two looks at the clean image."""
    each = total([Cost(forwards=2), *autoattack_passes(num_classes).values()])
    return Cost(forwards=images * each.forwards, gradients=images * each.gradients)


class AllPasses:
    """AutoAttack's progress as one, in forward passes of the images that still stand.

    All there is shrinks as images break, since later passes leave them out. An image that breaks
    within a pass counts in it to its end; of passes that an earlier call made, as many images count
    as stand now.

    Args:
      progress: is told.
      num_classes: C.
    """

    def __init__(self, progress: Advance, num_classes: int) -> None:
        self._progress, costs = progress, autoattack_passes(num_classes)
        self._weights = {k: c.forwards + GRADIENT_FORWARDS * c.gradients for k, c in costs.items()}
        self._name, self._attacked = "", 0
        self._before = 0.0  # what the passes that are over took

    def __call__(self, name: str, done: float, attacked: int) -> None:
        """Takes the progress of a pass."""
        weights, at = list(self._weights.values()), list(self._weights).index(name)
        if not self._name:
            self._before = sum(weights[:at]) * attacked
        elif name != self._name:
            self._before += self._weights[self._name] * self._attacked
        self._name, self._attacked = name, attacked
        everything = self._before + sum(weights[at:]) * attacked
        self._progress(int(self._before + weights[at] * done), int(everything))
