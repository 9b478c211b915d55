"""Makes the demo's numbers and pictures anew, so that what is said of it is what was seen.

  make results

Runs the last commit's demo in an empty clone, on a machine that does nothing else. Writes
docs/demo.json, what stands between the marks in README.md, RESULTS.md and docs/first_hour.md, and
in docs/ the pictures: digits_samples.png and, by Chromium, digits_report.png, digits_phone.png,
digits_print.png and digits_terminal.png.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import sys
import tempfile

from sadajem_jax.workdir import files
from tools.results import demo, said, terminal
from tools.results.browser import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREENS = {"digits_report": "1280,1450", "digits_phone": "390,1250"}  # pixels
TERMINAL = "900,330"
TYPED = ("python", "main.py", "--config=configs/digits.py", "--workdir=runs/mine")


def main() -> int:
    """Runs the demo and writes all that is said of it; returns the exit status."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"error: expected one of {', '.join(BROWSERS)}, to draw the page; found none")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        found = demo.run(pathlib.Path(folder))
        workdir = pathlib.Path(folder, "clone", "runs", "demo")
        _pictures(workdir, Browser(browser, pathlib.Path(folder, "profile")))
    files.write_text_atomically(said.NUMBERS, json.dumps(found, indent=1) + "\n")
    for name, write in said.TEXTS.items():
        path = said.ROOT / name
        files.write_text_atomically(path, said.between_marks(path.read_text(), write(found)))
    return 0


def _pictures(workdir: pathlib.Path, browser: Browser) -> None:
    """The last grid of samples, the page on two screens and on paper, and a terminal."""
    docs, page = said.ROOT / "docs", workdir / "report" / "index.html"
    shutil.copyfile(max(workdir.glob("samples/*.png")), docs / "digits_samples.png")
    for name, size in SCREENS.items():
        browser.shoot(page, size, docs / f"{name}.png")
    browser.print(page, docs / "digits_print.png")
    clone = workdir.parents[1]
    seen = terminal.seen(TYPED, clone, demo.environment(clone), until="step   1", seconds=30)
    shown = clone / "terminal.html"
    shown.write_text(terminal.page(seen))
    browser.shoot(shown, TERMINAL, docs / "digits_terminal.png")


if __name__ == "__main__":
    sys.exit(main())
