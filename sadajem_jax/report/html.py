"""Pieces of HTML: plain texts in, markup out, so that nothing but these functions escapes."""

from __future__ import annotations

import base64
import html
import io
import itertools
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

from sadajem_jax.workdir.figure import COLUMNS

GRID_WIDTH, PAGE_WIDTH = 456, 1020  # pixels
WIDE = 7  # columns of a table that a telephone does not hold
MIME = {".png": "image/png", ".gif": "image/gif"}

Row = tuple[str, Sequence[str]]
"""A table's row: its class, and its cells."""


def document(title: str, style: str, body: str) -> str:
    """A whole page that needs nothing else; after its first heading come links to the others."""
    links = "\n".join(f'<a href="#{id}">{name}</a>' for id, name in HEADING.findall(body))
    if links:
        body = body.replace(CONTENTS, f'<nav aria-label="Contents">\n{links}\n</nav>')
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{text(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


CONTENTS = "<!-- contents -->"
"""Stands where the links to the sections are to be."""
HEADING = re.compile('<h2 id="(.*?)">(.*?)</h2>')


def heading(title: str) -> str:
    """The title of a section, which the contents lead to.

    Examples:
      >>> heading("What is left")
      '<h2 id="what-is-left">What is left</h2>'
    """
    return f'<h2 id="{re.sub("[^a-z0-9]+", "-", title.lower())}">{text(title)}</h2>'


def text(value: Any) -> str:
    """A text as it is read, whatever signs are in it.

    Examples:
      >>> text("a < b & c")
      'a &lt; b &amp; c'
    """
    return html.escape(str(value), quote=True)


def cell(value: float | None, form: str = "{:.4g}") -> str:
    """A number as a table shows it.

    Examples:
      >>> cell(0.12345, "{:.1%}"), cell(None)
      ('12.3%', '–')
    """
    return "–" if value is None else form.format(value)


def table(header: Sequence[str], rows: Iterable[Row], caption: str = "", kind: str = "") -> str:
    """A table of plain texts; each row comes with its class."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in header)
    body = "\n".join(
        f"<tr{_class(name)}>" + "".join(f"<td>{text(value)}</td>" for value in cells) + "</tr>"
        for name, cells in rows
    )
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    return scrolling(
        f"<table{_class(kind)}>{title}<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>",
        caption or header[0] or "Table",
        len(header),
    )


def scrolling(table: str, name: str, columns: int) -> str:
    """A table that may be wider than the page: moved by a finger or by the keys, and it says so."""
    kind = "scroll wide" if columns >= WIDE else "scroll"
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{text(name)}">'
        f'<div class="whole">{table}</div></div>'
    )


def figure(path: pathlib.Path, title: str, caption: str) -> str:
    """A picture and its caption, and where the arrays that it shows lie, if they were kept.

    A picture that says where it may be cut comes in its columns, which a narrow page sets one under
    the other.
    """
    with Image.open(path) as picture:
        width, kind = _width(picture)
        columns = _columns(picture, path)
    source = f"data:{MIME[path.suffix]};base64,"
    images = "".join(
        f'<img alt="{text(title) if place == 0 else ""}" style="width: {width * share:.0f}px" '
        f'src="{source}{base64.b64encode(data).decode()}">'
        for place, (share, data) in enumerate(columns)
    )
    arrays = path.with_suffix(".npz")
    where = f" Arrays: <code>{text(arrays.name)}</code>" if arrays.exists() else ""
    return (
        f'<figure{_class(kind)} style="max-width: {width}px"><div class="columns-of">{images}</div>'
        f"<figcaption>{text(caption)}{where}</figcaption></figure>"
    )


def _columns(picture: Image.Image, path: pathlib.Path) -> list[tuple[float, bytes]]:
    """The share of a picture's width that each column has, and its file."""
    cuts = [float(at) for at in picture.info.get(COLUMNS, "").split()]
    if not cuts:
        return [(1.0, path.read_bytes())]
    edges = [round(at * picture.width) for at in (0.0, *cuts, 1.0)]
    return [((b - a) / picture.width, _part(picture, a, b)) for a, b in itertools.pairwise(edges)]


def _part(picture: Image.Image, left: int, right: int) -> bytes:
    data = io.BytesIO()
    picture.crop((left, 0, right, picture.height)).save(data, format="PNG", optimize=True)
    return data.getvalue()


def _width(picture: Image.Image) -> tuple[int, str]:
    """In the page's pixels, and the class: plots have their inches, grids fit twice in a row.

    A grid of several blocks side by side takes the page's width.
    """
    if "dpi" in picture.info:
        return round(picture.width * 96 / picture.info["dpi"][0]), ""
    if COLUMNS in picture.info:
        return min(picture.width, PAGE_WIDTH), ""
    return min(picture.width, GRID_WIDTH), "grid"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
