"""A run that diverges is seen before anything is saved, and goes on from an earlier checkpoint."""

from __future__ import annotations

import pathlib

import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.processes import of_first
from sadajem_jax.workdir import restarts
from sadajem_jax.workdir.checkpoint import Checkpoints
from sadajem_jax.workdir.restarts import Retries

PX_LIMIT = 1e5  # the released program stops beyond it; NaN does not trigger that one, but does ours


class Diverged(Exception):
    """Says in a line at which step, and what was found."""


def check(first_step: int, metrics: dict[str, np.ndarray]) -> None:
    """Looks at the metrics [n] of the steps from `first_step` on.

    Raises:
      Diverged: for the first step with a value that is not finite, or |p(x) term| > 1e5.
    """
    for i in range(len(metrics["loss"])):
        for name, values in metrics.items():
            if not np.isfinite(values[i]):
                raise Diverged(f"at step {first_step + i + 1:,} {name} is {values[i]}")
        if "px_term" in metrics and abs(metrics["px_term"][i]) > PX_LIMIT:
            value = metrics["px_term"][i]
            raise Diverged(f"at step {first_step + i + 1:,} the p(x) term is {value:.3g}")


def go_back(
    workdir: pathlib.Path,
    checkpoints: Checkpoints,
    retries: Retries,
    reason: str,
    *,
    max_restarts: int,
    double_steps: bool,
) -> Retries:
    """Decides on the next retry, one checkpoint further back each, and writes it before it begins.

    A kill at any moment from here on resumes that retry: the count stands first, and
    `retire_stale` then deletes what it makes anew.

    Raises:
      UserError: after `max_restarts` of them.
    """
    if retries.restarts >= max_restarts:
        raise UserError(
            f"the training diverges: {reason}, after {retries.restarts} restarts with "
            f"K = {retries.num_sgld_steps}; allow more with config.train.max_restarts (it must be "
            f"below config.checkpoint.keep), or begin anew with a larger config.sgld.num_steps or "
            f"a lower config.train.learning_rate; see docs/troubleshooting.md"
        )
    checkpoints.wait()
    steps = checkpoints.steps()
    start = steps[max(0, len(steps) - 1 - retries.restarts)]
    num_sgld_steps = retries.num_sgld_steps * (2 if double_steps else 1)
    retries = Retries(retries.restarts + 1, num_sgld_steps, start)
    restarts.write(workdir, retries)
    print(
        f"diverged: {reason}; restart {retries.restarts} of {max_restarts} from step {start:,} "
        f"with K = {num_sgld_steps}",
        flush=True,
    )
    return retries


def retire_stale(checkpoints: Checkpoints, retries: Retries) -> None:
    """Deletes the checkpoints after the retry's start that an earlier attempt made."""

    def is_stale(step: int) -> bool:
        if step <= retries.start:
            return False
        return bool(checkpoints.notes(step).get("restarts", 0) < retries.restarts)

    for step in of_first(lambda: list(filter(is_stale, checkpoints.steps()))):
        checkpoints.delete(step)
