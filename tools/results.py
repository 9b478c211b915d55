"""Writes what README and RESULTS say of the demo: its numbers, docs/digits.json, and its pictures.

  make results                    the demo anew, then:
  python -m tools.results W       of the demo's folder W, evaluated

A test holds the sentences and the pictures to the numbers, so that none is of another revision. The
page is drawn by Chromium, where there is one; without it the picture stays and is no longer held.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from sadajem_jax.console import command
from sadajem_jax.console.errors import UserError
from sadajem_jax.report import page
from sadajem_jax.workdir import files, records, settings

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
NUMBERS, SAMPLES, PAGE = "digits.json", "digits_samples.png", "digits_report.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WINDOW = "1100,1250"  # of the page's picture: tiles, contents and the first samples


def collect(workdir: pathlib.Path, docs: pathlib.Path = DOCS) -> dict[str, Any]:
    """Copies the pictures into `docs`; returns what docs/digits.json is to hold.

    Args:
      workdir: of the demo, trained and evaluated.
      docs: the folder that it is shown in.

    Raises:
      UserError: if the folder holds no evaluated run.
    """
    samples = workdir / "figures" / "samples_buffer.png"
    if not samples.is_file():
        raise UserError(f"expected the folder of the demo, trained and evaluated, found {workdir}")
    shutil.copyfile(samples, docs / SAMPLES)
    held = [SAMPLES, *([PAGE] if draw(page.write(workdir), docs / PAGE) else [])]
    pieces = records.read_pieces(workdir)
    done = {name: piece for name, piece in pieces.items() if "not_computed" not in piece}
    return {
        "settings": settings.identity(settings.read(workdir)),
        "numbers": records.read_json(workdir / "metrics.json"),
        "seconds": {name: round(piece["seconds"], 1) for name, piece in done.items()},
        "hardware": next((piece["hardware"] for piece in done.values()), ""),
        "finished": max((piece["finished"] for piece in done.values()), default=""),
        "pictures": {name: checksum(docs / name) for name in held},
    }


def draw(shown: pathlib.Path, picture: pathlib.Path) -> bool:
    """Draws a page's beginning into a file, by the first browser there is; False without one."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"{picture.name} is not drawn: no {' or '.join(BROWSERS)} found", flush=True)
        return False
    with tempfile.TemporaryDirectory() as profile:
        drawing = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        drawing += [f"--user-data-dir={profile}", f"--window-size={WINDOW}"]
        drawing += [f"--screenshot={picture.resolve()}", shown.resolve().as_uri()]
        subprocess.run([browser, *drawing], check=True, capture_output=True, timeout=120)
    return True


def checksum(path: pathlib.Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(argv: Sequence[str]) -> int:
    """Reads the command line; returns the exit status."""
    if len(argv) != 1 or argv[0].startswith("-"):
        raise UserError("expected one folder: python -m tools.results runs/results")
    found = collect(pathlib.Path(argv[0]).expanduser())
    files.write_text_atomically(DOCS / NUMBERS, json.dumps(found, indent=1) + "\n")
    print(f"written: {', '.join([NUMBERS, *found['pictures']])} in {DOCS}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main, sys.argv[1:]))
