"""Warnings while a run goes wrong; docs/troubleshooting.md says what to change."""

from __future__ import annotations

import numpy as np

GAP_SPREADS, GAP_NATS = 3.0, 1.0  # beyond both, samples have left the data's range
COLLAPSE = 0.25  # of the first spread across slots
FALL, EPOCHS = 0.02, 3  # accuracy lower by this much, for so many epochs

SEE = "see docs/troubleshooting.md"


class Watch:
    """Looks at what the log averages, and says in a line what looks wrong; each kind once an epoch.

    Args:
      steps_per_epoch: of the stream that epochs are counted on.
      first_spread: of the run's first buffer images, as `spread` gives it: a run that goes on from
        a collapsed buffer must not take that one for its measure.
    """

    def __init__(self, steps_per_epoch: int, first_spread: float) -> None:
        self.steps_per_epoch, self.first_spread = steps_per_epoch, first_spread
        self._best, self._low_epochs = 0.0, 0
        self._epoch: list[float] = []
        self._told: dict[str, int] = {}

    def scalars(self, step: int, scalars: dict[str, float]) -> list[str]:
        """Warnings from one line of the log."""
        found = []
        gap = scalars.get("log_density_gap", 0.0)  # no p(x) term, no gap
        spread = scalars.get("log_density_data_std", 0.0)
        if abs(gap) > max(GAP_SPREADS * spread, GAP_NATS):
            side = "below" if gap > 0 else "above"
            found.append(
                f"samples lie {abs(gap):.1f} nats {side} the data, whose spread is {spread:.1f}: "
                f"the chains no longer follow the model, {SEE}#gap"
            )
        return self._once(step, "gap", found) + self._accuracy(step, scalars["accuracy"])

    def buffer(self, step: int, images: np.ndarray) -> list[str]:
        """Warnings from buffer images [n, H, W, channels]."""
        now = spread(images)
        if now >= COLLAPSE * self.first_spread:
            return []
        message = (
            f"the buffer's images are alike: their spread across slots is {now:.3f}, it was "
            f"{self.first_spread:.3f}: {SEE}#collapse"
        )
        return self._once(step, "collapse", [message])

    def _accuracy(self, step: int, accuracy: float) -> list[str]:
        self._epoch.append(accuracy)
        if step // self.steps_per_epoch <= self._told.get("epoch", 0):
            return []
        self._told["epoch"] = step // self.steps_per_epoch
        mean, self._epoch = float(np.mean(self._epoch)), []
        self._low_epochs = self._low_epochs + 1 if mean < self._best - FALL else 0
        self._best = max(self._best, mean)
        if self._low_epochs < EPOCHS:
            return []
        message = f"training accuracy has been below {self._best:.3f} for {self._low_epochs} epochs"
        return self._once(step, "accuracy", [f"{message}, now {mean:.3f}: {SEE}#accuracy"])

    def _once(self, step: int, kind: str, found: list[str]) -> list[str]:
        epoch = step // self.steps_per_epoch + 1
        if not found or self._told.get(kind) == epoch:
            return []
        self._told[kind] = epoch
        return found


def spread(images: np.ndarray) -> float:
    """Mean over pixels of the standard deviation across slots: [n, H, W, channels] -> 0 or more."""
    return float(images.std(axis=0).mean())
