"""A table as data, and the one way our rows come to stand beside published ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from sadajem_jax.tables.cells import MISSING, Cell
from sadajem_jax.tables.entries import Entry

GROUP, PUBLISHED, OURS, OLDER = "group", "published", "ours", "ours older"


class Row(NamedTuple):
    """A row.

    Attributes:
      name: what it is of.
      cells: the numbers.
      kind: GROUP (a line between rows), PUBLISHED, OURS, or OLDER than another row of ours.
      runs: the numbers of the runs behind it.
    """

    name: str
    cells: tuple[Cell, ...] = ()
    kind: str = PUBLISHED
    runs: tuple[int, ...] = ()


class Table(NamedTuple):
    """A table.

    Attributes:
      key: a word, "table1".
      title: "Table 1: ...".
      header: of its columns, the first of the names.
      rows: from the top.
      notes: below it.
    """

    key: str
    title: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_ours(self) -> bool:
        """Whether there is a row of ours."""
        return any(row.runs for row in self.rows)


class Published(NamedTuple):
    """A published row.

    Attributes:
      name: as published.
      values: its numbers, None where none is given.
      same: keys of what of ours is the same, the closest first.
      kind: of model, "" where the table makes no difference.
    """

    name: str
    values: tuple[str | None, ...]
    same: tuple[Hashable, ...] = ()
    kind: str = ""


class Ours(NamedTuple):
    """An entry, what it is like, and its cells."""

    entry: Entry
    same: tuple[Hashable, ...]
    kind: str
    name: str
    cells: tuple[Cell, ...]


def beside(
    published: Sequence[Published], ours: Sequence[Ours], kinds: dict[str, str]
) -> tuple[Row, ...]:
    """Each of ours below the published row that is nearest to it, else at its kind's end.

    Args:
      published: in the paper's order.
      ours: rows; a row without one number is left out unless it is of a last checkpoint.
      kinds: {kind: title} of the groups in order; one without a title has no line above it.
    """
    shown = [row for row in ours if row.entry.is_main or any(map(_is_there, row.cells))]
    at = {id(row): _nearest(row, published) for row in shown}
    rows: list[Row] = []
    for kind, title in kinds.items():
        of_kind: list[Row] = []
        for place, theirs in enumerate(published):
            if theirs.kind == kind:
                of_kind.append(Row(theirs.name, tuple(Cell(v or MISSING) for v in theirs.values)))
                of_kind += [_row(row) for row in shown if at[id(row)] == place]
        of_kind += [_row(row) for row in shown if at[id(row)] is None and row.kind == kind]
        if of_kind:
            rows += [Row(title, kind=GROUP)] * bool(title) + of_kind
    return tuple(rows)


def _nearest(row: Ours, published: Sequence[Published]) -> int | None:
    """The place of the published row that shares the closest key."""
    for key in row.same:
        for place, theirs in enumerate(published):
            if key in theirs.same:
                return place
    return None


def _row(row: Ours) -> Row:
    kind = OLDER if row.entry.is_older else OURS
    numbers = tuple(member.number for member in row.entry.members)
    return Row(f"Ours: {row.name}", row.cells, kind, numbers)


def _is_there(cell: Cell) -> bool:
    return cell.text != MISSING


Column = tuple[str, Callable[[Entry], Cell]]
"""A column's head, and a row's cell in it."""


def ours(
    entries: Sequence[Entry],
    columns: Sequence[Column],
    same: Callable[[Entry], tuple[Hashable, ...]],
    kind: Callable[[Entry], str] = lambda entry: "",
    always: Sequence[str] = (),
) -> list[Ours]:
    """Entries with their cells, keys and kinds."""
    return [
        Ours(e, same(e), kind(e), e.name(*always), tuple(make(e) for _, make in columns))
        for e in entries
    ]
