"""Long sentences in lines that fit a terminal."""

from __future__ import annotations

import textwrap

WIDTH = 100


def wrapped(text: str, width: int = WIDTH) -> str:
    """A sentence in lines of at most `width` characters, the later ones indented; words stay whole.

    Examples:
      >>> print(wrapped("ood: one 0.5, two 0.25, three 1", 16))
      ood: one 0.5,
        two 0.25,
        three 1
    """
    indent = " " * (len(text) - len(text.lstrip())) + "  "
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
