"""How long the pieces of an evaluation take together; a part above an hour has to be named."""

from __future__ import annotations

from collections.abc import Sequence

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import duration
from sadajem_jax.evaluation.costs import Cost, Speeds, total
from sadajem_jax.evaluation.parts import Piece

HOUR = 3600.0


def together(pieces: Sequence[Piece]) -> Cost:
    """What pieces take; one that cannot be done here takes nothing, and says why when it is due."""
    return total(filter(None, map(_cost, pieces)))


def _cost(piece: Piece) -> Cost | None:
    try:
        return piece.cost() if piece.cost else None
    except UserError:
        return None


class Allowance:
    """Which parts are begun: those that are named, and those that take an hour at most.

    Args:
      named: parts that are done however long they take.
      speeds: of this device.
    """

    def __init__(self, named: Sequence[str], speeds: Speeds) -> None:
        self._named, self._speeds = named, speeds
        self._seconds: dict[str, float] = {}

    def refuse_long(self, part: str, due: Sequence[Piece]) -> None:
        """Raises UserError for a part that is neither named nor short.

        Args:
          part: by name.
          due: its pieces that are to be done; looked at once a part.
        """
        if part in self._named:
            return
        if part not in self._seconds:
            self._seconds[part] = self._speeds.seconds(together(due))
        if self._seconds[part] > HOUR:
            raise UserError(
                f"{part} takes about {duration(self._seconds[part])} here; "
                f"--config.eval.only={part} does it"
            )
