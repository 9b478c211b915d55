"""Pieces of HTML: plain texts in, markup out, so that nothing but these functions escapes."""

from __future__ import annotations

import base64
import html
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

GRID_WIDTH = 456  # pixels
MIME = {".png": "image/png", ".gif": "image/gif"}

Row = tuple[str, Sequence[str]]
"""A table's row: its class, and its cells."""


def document(title: str, style: str, body: str) -> str:
    """A whole page that needs nothing else."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{text(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


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
    return (
        f'<div class="scroll"><table{_class(kind)}>{title}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def figure(path: pathlib.Path, title: str, caption: str) -> str:
    """A picture's bytes and its caption, and where the arrays that it shows lie."""
    source = base64.b64encode(path.read_bytes()).decode()
    width, kind = _width(path)
    return (
        f'<figure{_class(kind)} style="width: {width}px"><img alt="{text(title)}" '
        f'src="data:{MIME[path.suffix]};base64,{source}">'
        f"<figcaption>{text(caption)} Arrays: <code>{text(path.with_suffix('.npz').name)}</code>"
        "</figcaption></figure>"
    )


def _width(path: pathlib.Path) -> tuple[int, str]:
    """In the page's pixels, and the class: plots have their inches, grids fit twice in a row."""
    with Image.open(path) as picture:
        if "dpi" in picture.info:
            return round(picture.width * 96 / picture.info["dpi"][0]), ""
        return min(picture.width, GRID_WIDTH), "grid"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
