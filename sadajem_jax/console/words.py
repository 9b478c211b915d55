"""How quantities and lists are said to a person, and read from one."""

from __future__ import annotations


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
