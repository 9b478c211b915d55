"""What came of a part."""

from __future__ import annotations

from typing import Any, NamedTuple

DONE, FAILED, TIMED_OUT, NOT_HERE, NOT_BEGUN = (
    "done", "failed", "timed out", "cannot be done here", "not begun",
)  # fmt: skip


class Outcome(NamedTuple):
    """One part's.

    Attributes:
      name: of the part.
      title: of the part.
      status: DONE, FAILED, TIMED_OUT, NOT_HERE or NOT_BEGUN.
      seconds: that it took.
      limit: seconds that it had.
      argv: its command.
      result: the JSON object that it printed last; {} if it printed none.
      last_line: the last that it said, where it is not done.
    """

    name: str
    title: str
    status: str
    seconds: float
    limit: int
    argv: list[str]
    result: dict[str, Any]
    last_line: str = ""
