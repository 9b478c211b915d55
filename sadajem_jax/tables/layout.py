"""What the three forms of a table share: letters of its notes, and the runs behind a row."""

from __future__ import annotations

import string
from collections.abc import Sequence

from sadajem_jax.tables.cells import Cell
from sadajem_jax.tables.table import Table

LAST = ("n", "runs")
"""Heads of the columns after the numbers: how many seeds, and which runs."""


def letters(table: Table) -> dict[str, str]:
    """{note: letter} of the notes of all cells, in the order they are met.

    After z come aa, ab, ...
    """
    met = dict.fromkeys(note for row in table.rows for cell in row.cells for note in cell.notes)
    return {note: _letter(place) for place, note in enumerate(met)}


def _letter(place: int) -> str:
    """Letters as columns of a sheet have them.

    Examples:
      >>> _letter(0), _letter(25), _letter(26)
      ('a', 'z', 'aa')
    """
    first, last = divmod(place, 26)
    return (_letter(first - 1) if first else "") + string.ascii_lowercase[last]


def marks(cell: Cell, of: dict[str, str]) -> str:
    """The letters of a cell's notes."""
    return ", ".join(of[note] for note in cell.notes)


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in few words.

    Examples:
      >>> ranges([1, 2, 3, 5]), ranges([2, 1]), ranges([])
      ('1–3, 5', '1, 2', '')
    """
    blocks: list[list[int]] = []
    for number in sorted(numbers):
        if blocks and number == blocks[-1][-1] + 1:
            blocks[-1].append(number)
        else:
            blocks.append([number])
    return ", ".join(f"{b[0]}–{b[-1]}" if len(b) > 2 else ", ".join(map(str, b)) for b in blocks)
