"""What an evaluator hands over where a number will not do: a picture and the arrays behind it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

COLUMNS = (
    "Columns"  # a PNG's entry of where it may be cut for a narrow page, in shares of its width
)


class Figure(NamedTuple):
    """A figure of the evaluation.

    Attributes:
      name: of its file, without the suffix.
      data: the encoded image.
      suffix: ".png" or ".gif".
      arrays: what is drawn, by name, for a reader who plots it anew.
      caption: one or two sentences for the report.
    """

    name: str
    data: bytes
    suffix: str
    arrays: dict[str, np.ndarray]
    caption: str
