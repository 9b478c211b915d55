"""The command: reads runs, writes tables and figures, and says where they are."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from sadajem_jax.console.command import Parser
from sadajem_jax.console.errors import UserError
from sadajem_jax.tables import contents, entries, latex, listing, markdown, page, pictures
from sadajem_jax.tables.page import Picture
from sadajem_jax.workdir import files

TITLE = "Runs beside the paper's tables"
EXPLAINED = (
    "Rows that begin with Ours are of the runs listed below, each beneath the published row that "
    "it is nearest to; the others are the paper's (Yang, Su and Ji, CVPR 2023). Runs that differ "
    "in the seed alone are one row: mean ± standard deviation (with n - 1) over n runs. What a row "
    "overrides of its system's own settings is part of its name. A dash: not there."
)


def tables(argv: Sequence[str]) -> int:
    """Writes OUT/index.html, tables.md, tables.tex and figures/; returns the exit status.

    Raises:
      UserError: for a mistake in the flags, or a folder that is no run's.
    """
    flags = _parser().parse_args(argv)
    out = pathlib.Path(flags.out).expanduser()
    write([pathlib.Path(name).expanduser() for name in flags.workdirs], out)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sadajem_jax.tables",
        description="Tables 1, 2, 3, 5 and 6 of the paper with your runs in them, and its figures "
        "of several models on one scale.",
    )
    parser.add_argument("workdirs", nargs="+", metavar="W", help="the folder of a run")
    parser.add_argument("--out", default="runs/tables", help="where to write; %(default)s")
    return parser


def write(workdirs: Sequence[pathlib.Path], out: pathlib.Path) -> None:
    """Writes the page, the tables in Markdown and LaTeX, and the figures with their arrays.

    Args:
      workdirs: folders of runs.
      out: a folder; what an earlier call wrote there is replaced.

    Raises:
      UserError: if one is no folder of a run, or a file in it is damaged.
    """
    members = entries.read(runs_among(workdirs))
    rows = entries.grouped(members)
    made, runs = contents.tables(rows), listing.runs(members)
    explained = " ".join([EXPLAINED, *(f"{line}." for line in listing.repeats(rows))])
    files.write_text_atomically(out / "tables.md", markdown.document(TITLE, explained, made, runs))
    files.write_text_atomically(out / "tables.tex", latex.document(TITLE, explained, made, runs))
    shown = pictures.write(rows, out / "figures")
    _write_page(out, page.document(TITLE, explained, made, runs, shown))
    _say(out, rows, len(runs), shown)


def runs_among(folders: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Those that hold a run; what became none, as of a failed sweep, is named and left out.

    Raises:
      UserError: if there is no such folder, or none holds a run.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"expected folders of runs, found no folder {folder}")
    found = [folder for folder in folders if (folder / "config.json").is_file()]
    for folder in folders:
        if folder not in found:
            print(f"note: {folder} holds no run: it is left out", flush=True)
    if not found:
        raise UserError("expected folders of runs, found no config.json in any of them")
    return found


def _write_page(out: pathlib.Path, text: str) -> None:
    files.write_text_atomically(out / "index.html", text)


def _say(
    out: pathlib.Path, rows: Sequence[entries.Entry], runs: int, shown: Sequence[Picture]
) -> None:
    for line in listing.repeats(rows):
        print(f"note: {line}")
    print(f"{runs} runs in {len(rows)} rows of ours, {len(shown)} figures")
    for name in ("index.html", "tables.md", "tables.tex"):
        print(out / name, flush=True)
