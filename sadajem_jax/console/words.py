"""How quantities and lists are said to a person, and read from one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    Examples:
      >>> duration(42), duration(95), duration(7_300), duration(200_000)
      ('42 s', '1 min 35 s', '2 h 01 min', '2 d 07 h')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600:02d} h"


def comma_list(text: str) -> list[str]:
    """The words of a comma list, blanks around them dropped.

    Examples:
      >>> comma_list("calibration, ood"), comma_list("")
      (['calibration', 'ood'], [])
    """
    return [word.strip() for word in text.split(",") if word.strip()]


def nearest(word: str, known: Iterable[str], before: str = "") -> str:
    """A question, " (did you mean X?)", where one of `known` is near to `word`, else nothing.

    Near as a whole or to a word in it, capitals aside; `before` is put before the name.

    Examples:
      >>> nearest("svnh", ["cifar10", "svhn_cropped"]), nearest("mode", ["model"], "config.")
      (' (did you mean svhn_cropped?)', ' (did you mean config.model?)')
      >>> nearest("xyz", ["cifar10"])
      ''
    """
    likeness = {name: _likeness(word.lower(), name.lower()) for name in known}
    best = max(likeness, key=likeness.__getitem__, default="")
    return f" (did you mean {before}{best}?)" if best and likeness[best] >= 0.6 else ""


def _likeness(word: str, name: str) -> float:
    """From 0 to 1; what is like a single word of the name, and only very much so, counts less."""

    def ratio(other: str) -> float:
        return difflib.SequenceMatcher(None, word, other).ratio()

    within = max(map(ratio, re.split(r"[^a-z0-9]+", name)))
    return max(ratio(name), 0.95 * within if within >= 0.75 else 0)
