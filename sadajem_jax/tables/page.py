"""Tables and figures as one HTML page that needs nothing else; a number says where it is from."""

from __future__ import annotations

import importlib.resources
import pathlib
from collections.abc import Sequence

from sadajem_jax.report import html
from sadajem_jax.report.html import scrolling, text
from sadajem_jax.tables import layout, listing
from sadajem_jax.tables.cells import Cell
from sadajem_jax.tables.listing import Listed
from sadajem_jax.tables.table import GROUP, PUBLISHED, Row, Table

STYLES = (("sadajem_jax.report", "style.css"), ("sadajem_jax.tables", "style.css"))

Picture = tuple[pathlib.Path, str, str]
"""A figure's file, what it is called, and its caption."""


def document(
    title: str,
    explained: str,
    tables: Sequence[Table],
    runs: Sequence[Listed],
    pictures: Sequence[Picture] = (),
) -> str:
    """The page: tables with rows of ours, figures, runs, and the paper's tables without any."""
    ours = [table(of) for of in tables if of.has_ours]
    others = [table(of) for of in tables if not of.has_ours]
    figures = "\n".join(html.figure(*picture) for picture in pictures)
    parts = [
        f'<h1>{text(title)}</h1>\n<p class="soft">{text(explained)}</p>',
        *ours,
        f'<h2>Figures</h2>\n<div class="figures">\n{figures}\n</div>' if figures else "",
        _listing(runs) if runs else "",
        "<h2>Tables of the paper without a run of ours</h2>" if others else "",
        *others,
    ]
    return html.document(title, _style(), "\n".join(filter(None, parts)))


def _style() -> str:
    files = (importlib.resources.files(package).joinpath(name) for package, name in STYLES)
    return "\n".join(file.read_text("utf-8") for file in files)


def table(of: Table) -> str:
    """A table with its title and notes."""
    letters = layout.letters(of)
    heads = "".join(f'<th scope="col">{text(h)}</th>' for h in (*of.header, *layout.LAST))
    rows = "\n".join(_row(row, letters, len(of.header)) for row in of.rows)
    notes = [f"<sup>{letter}</sup> {text(note)}." for note, letter in letters.items()]
    notes += map(text, of.notes)
    below = f'<p class="soft">{" ".join(notes)}</p>' if notes else ""
    made = (
        f'<table class="beside"><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>'
    )
    shown = scrolling(made, of.title, len(of.header))
    return f'<h3 id="{text(of.key)}">{text(of.title)}</h3>\n{shown}\n{below}'


def _row(row: Row, letters: dict[str, str], columns: int) -> str:
    if row.kind == GROUP:
        span = columns + len(layout.LAST)
        return f'<tr class="group"><td colspan="{span}">{text(row.name)}</td></tr>'
    kind = "" if row.kind == PUBLISHED else f' class="{row.kind}"'
    cells = "".join(_cell(cell, letters) for cell in row.cells)
    return (
        f"<tr{kind}><td>{text(row.name)}</td>{cells}<td>{len(row.runs) or ''}</td>"
        f"<td>{_links(row.runs)}</td></tr>"
    )


def _cell(cell: Cell, letters: dict[str, str]) -> str:
    """What lies behind a number shows when one points at it."""
    title = f' title="{text(chr(10).join(cell.sources))}"' if cell.sources else ""
    marks = layout.marks(cell, letters)
    sup = f"<sup>{marks}</sup>" if marks else ""
    return f"<td{title}>{text(cell.text)}{sup}</td>"


def _links(numbers: Sequence[int]) -> str:
    return ", ".join(f'<a href="#run{number}">{number}</a>' for number in numbers)


def _listing(runs: Sequence[Listed]) -> str:
    heads = "".join(f'<th scope="col">{text(h)}</th>' for h in listing.HEADER)
    rows = "\n".join(
        f'<tr id="run{run.number}"><td>{run.number}</td><td><code>{text(run.workdir)}</code></td>'
        + "".join(f"<td>{text(cell)}</td>" for cell in run.cells)
        + "</tr>"
        for run in runs
    )
    made = f'<table class="runs"><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>'
    return f"<h2>Runs</h2>\n{scrolling(made, 'Runs', len(listing.HEADER))}"
