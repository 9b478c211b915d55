"""Tables as LaTeX with booktabs, for a paper to take in; a row's runs stand in a comment."""

from __future__ import annotations

from collections.abc import Sequence

from sadajem_jax.tables import layout, listing
from sadajem_jax.tables.listing import Listed
from sadajem_jax.tables.table import GROUP, PUBLISHED, Row, Table

PREAMBLE = "% \\usepackage{booktabs} in the preamble, and \\usepackage[T1]{fontenc} for paths."
LONG_NAME, NAMES_WIDTH = 60, r"0.4\linewidth"  # names of more signs are wrapped
SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
} | {sign: "\\" + sign for sign in "&%$#_{}"}


def document(title: str, explained: str, tables: Sequence[Table], runs: Sequence[Listed]) -> str:
    """All tables and the list of runs, a file for a paper to take in."""
    paths = {run.number: str(run.workdir) for run in runs}
    head = "\n".join([f"% {_comment(title)}", f"% {_comment(explained)}", PREAMBLE])
    parts = [head, *(table(of, paths) for of in tables)]
    return "\n\n".join([*parts, *([_listing(runs)] if runs else [])]) + "\n"


def table(of: Table, paths: dict[int, str]) -> str:
    """A floating table, its notes below it.

    Args:
      of: the table.
      paths: the workdirs of runs by their numbers.
    """
    letters = layout.letters(of)
    notes = [f"\\textsuperscript{{{letter}}} {text(note)}." for note, letter in letters.items()]
    notes += map(text, of.notes)
    columns = ["l", *"r" * (len(of.header) - 1), "r", "l"]
    if max(len(row.name) for row in of.rows) > LONG_NAME:
        columns[0] = f"p{{{NAMES_WIDTH}}}"
    heads = " & ".join(map(text, (*of.header, *layout.LAST)))
    rows = [_row(row, letters, len(columns), paths) for row in of.rows]
    return _float(of.key, of.title, columns, heads, rows, notes)


def _float(
    key: str,
    title: str,
    columns: Sequence[str],
    heads: str,
    rows: Sequence[str],
    notes: Sequence[str],
) -> str:
    below = [r"\par\smallskip\raggedright\footnotesize " + " ".join(notes)] if notes else []
    lines = [
        r"\begin{table}[t]",
        r"\centering\small",
        f"\\caption{{{text(title)}}}",
        f"\\label{{tab:{key}}}",
        f"\\begin{{tabular}}{{{''.join(columns)}}}",
        r"\toprule",
        f"{heads} \\\\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *below,
        r"\end{table}",
    ]
    return "\n".join(lines)


def _row(row: Row, letters: dict[str, str], columns: int, paths: dict[int, str]) -> str:
    if row.kind == GROUP:
        return f"\\multicolumn{{{columns}}}{{l}}{{\\textit{{{text(row.name)}}}}} \\\\"
    name = text(row.name) if row.kind == PUBLISHED else f"\\textbf{{{text(row.name)}}}"
    cells = [_number(cell.text) + _sup(layout.marks(cell, letters)) for cell in row.cells]
    runs = (str(len(row.runs) or ""), text(layout.ranges(row.runs)))
    whence = ", ".join(_comment(paths[number]) for number in row.runs)
    return " & ".join([name, *cells, *runs]) + r" \\" + (f" % {whence}" if whence else "")


def _number(value: str) -> str:
    """A number with a minus, where it has one, and not a hyphen."""
    return text(value).replace("-", "$-$", 1) if value.startswith("-") else text(value)


def _sup(marks: str) -> str:
    return f"\\textsuperscript{{{marks}}}" if marks else ""


def _listing(runs: Sequence[Listed]) -> str:
    rows = [
        " & ".join([str(r.number), f"\\texttt{{{text(str(r.workdir))}}}", *map(text, r.cells)])
        + r" \\"
        for r in runs
    ]
    heads = " & ".join(map(text, listing.HEADER))
    return _float("runs", "The runs behind our rows", [*"rlllll"], heads, rows, ())


def _comment(value: str) -> str:
    return " ".join(value.split())


def text(value: str) -> str:
    r"""A text as it is read, whatever signs are in it.

    Examples:
      >>> text("50% of a_b ± 1")
      '50\\% of a\\_b $\\pm$ 1'
    """
    return "".join(SIGNS.get(sign, sign) for sign in value)
