"""Pictures of pages, by Chromium: on a screen, and printed."""

from __future__ import annotations

import pathlib
import subprocess
import tempfile
from typing import NamedTuple

import pypdfium2  # type: ignore[import-untyped]
from PIL import Image

QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
SHEETS, SCALE, GAP = 5, 0.4, 6  # printed sheets in a row, pixels a point, pixels between them
DESK = (110, 110, 110)


class Browser(NamedTuple):
    """A browser that draws pages.

    Attributes:
      program: its path.
      profile: a folder of its own.
    """

    program: str
    profile: pathlib.Path

    def shoot(self, page: pathlib.Path, size: str, to: pathlib.Path) -> None:
        """The top of a page, on a screen of "width,height" pixels, into a PNG file."""
        self._run(f"--window-size={size}", f"--screenshot={to}", page.as_uri())

    def print(self, page: pathlib.Path, to: pathlib.Path) -> None:
        """The sheets of a printed page side by side, into a PNG file."""
        with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
            self._run("--no-pdf-header-footer", f"--print-to-pdf={file.name}", page.as_uri())
            with pypdfium2.PdfDocument(file.name) as printed:
                sheets = [sheet.render(scale=SCALE).to_pil() for sheet in printed]
        side_by_side(sheets).quantize().save(to, optimize=True)

    def _run(self, *how: str) -> None:
        command = [self.program, *QUIET, f"--user-data-dir={self.profile}", *how]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def side_by_side(sheets: list[Image.Image]) -> Image.Image:
    """Sheets of one size in rows, on a grey desk."""
    width, height = (size + GAP for size in sheets[0].size)
    rows = -(-len(sheets) // SHEETS)
    desk = Image.new("RGB", (SHEETS * width + GAP, rows * height + GAP), DESK)
    for number, sheet in enumerate(sheets):
        row, column = divmod(number, SHEETS)
        desk.paste(sheet, (GAP + column * width, GAP + row * height))
    return desk
