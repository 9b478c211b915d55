"""What cannot be attacked is a reason for the user, and no failure of the program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation.autoattack.checks import Refused


@contextlib.contextmanager
def as_reasons() -> Iterator[None]:
    """Raises UserError, of the same line, for what an attack refuses, as logits of no numbers."""
    try:
        yield
    except Refused as error:
        raise UserError(str(error)) from error
