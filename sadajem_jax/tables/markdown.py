"""Tables as Markdown, for a README or an issue."""

from __future__ import annotations

from collections.abc import Sequence

from sadajem_jax.tables import layout, listing
from sadajem_jax.tables.listing import Listed
from sadajem_jax.tables.table import GROUP, PUBLISHED, Row, Table


def document(title: str, explained: str, tables: Sequence[Table], runs: Sequence[Listed]) -> str:
    """All tables and the list of runs."""
    parts = [f"# {title}", text(explained), *map(table, tables)]
    if runs:
        rows = [(str(r.number), f"`{r.workdir}`", *map(text, r.cells)) for r in runs]
        parts += ["## Runs", _lines(listing.HEADER, rows, numbers=0)]
    return "\n\n".join(parts) + "\n"


def table(of: Table) -> str:
    """A table with its title and notes."""
    letters = layout.letters(of)
    rows = [_cells(row, letters, len(of.header) - 1) for row in of.rows]
    notes = [f"<sup>{letter}</sup> {text(note)}" for note, letter in letters.items()]
    notes += map(text, of.notes)
    heads = tuple(map(text, (*of.header, *layout.LAST)))
    lines = _lines(heads, rows, numbers=len(of.header))
    return "\n\n".join([f"## {text(of.title)}", lines, *notes])


def _cells(row: Row, letters: dict[str, str], columns: int) -> tuple[str, ...]:
    if row.kind == GROUP:
        return (f"*{text(row.name)}*", *[""] * (columns + 2))
    name = text(row.name) if row.kind == PUBLISHED else f"**{text(row.name)}**"
    cells = [text(cell.text) + _sup(layout.marks(cell, letters)) for cell in row.cells]
    return (name, *cells, str(len(row.runs) or ""), layout.ranges(row.runs))


def _sup(marks: str) -> str:
    return f" <sup>{marks}</sup>" if marks else ""


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> str:
    """Rows under a header; the columns after the first to `numbers` are right-aligned."""
    rule = ["---" if not 0 < at <= numbers else "---:" for at in range(len(header))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def text(value: str) -> str:
    r"""A text as it is read, whatever signs are in it.

    Examples:
      >>> text("a | b*")
      'a \\| b\\*'
    """
    for sign in "\\`*_|<[":
        value = value.replace(sign, "\\" + sign)
    return " ".join(value.split())
