"""Makes the demo's numbers and pictures anew, so that what is said of it is what was seen.

  make results

Runs the last commit's demo in an empty clone, on a machine that does nothing else. Writes
docs/demo.json, what stands between the marks in README.md, RESULTS.md and docs/first_hour.md, and
in docs/ the pictures digits_samples.png and, by Chromium, digits_report.png and digits_phone.png.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

from sadajem_jax.workdir import files
from tools.results import demo, said

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREENS = {"digits_report": "1100,1250", "digits_phone": "390,1250"}  # pixels
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")


def main() -> int:
    """Runs the demo and writes all that is said of it; returns the exit status."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"error: expected one of {', '.join(BROWSERS)}, to draw the page; found none")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        found = demo.run(pathlib.Path(folder))
        workdir = pathlib.Path(folder, "clone", "runs", "demo")
        _pictures(workdir, browser, pathlib.Path(folder, "profile"))
    files.write_text_atomically(said.NUMBERS, json.dumps(found, indent=1) + "\n")
    for name, write in said.TEXTS.items():
        path = said.ROOT / name
        files.write_text_atomically(path, said.between_marks(path.read_text(), write(found)))
    return 0


def _pictures(workdir: pathlib.Path, browser: str, profile: pathlib.Path) -> None:
    """The last grid of samples, and the top of the report's page on two screens."""
    docs = said.ROOT / "docs"
    shutil.copyfile(max(workdir.glob("samples/*.png")), docs / "digits_samples.png")
    page = (workdir / "report" / "index.html").as_uri()
    for name, size in SCREENS.items():
        given = (f"--user-data-dir={profile}", f"--window-size={size}")
        shot = f"--screenshot={docs / name}.png"
        subprocess.run([browser, *QUIET, *given, shot, page], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
