"""Tables as LaTeX with booktabs, for a paper to take in; a row's runs stand in a comment."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sadajem_jax.tables import layout, listing
from sadajem_jax.tables.listing import Listed
from sadajem_jax.tables.table import GROUP, PUBLISHED, Row, Table

PREAMBLE = r"""% Needs \usepackage{booktabs,graphicx}; for paths \usepackage[T1]{fontenc}.
% What is wider than a line of the text, as of a column, is made smaller.
\providecommand{\fitted}[1]{{\sbox0{#1}%
  \ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi}}"""
LONG_NAME, WRAPPED = 30, r"p{0.4\linewidth}"  # names of more signs are wrapped
BREAKS = re.compile(r"(/|\\_|(?<!-)-(?!-)|(?<=\w)=|(?<=[a-z])\.(?=[a-z]))")
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
        columns[0] = WRAPPED
    heads = " & ".join(map(text, (*of.header, *layout.LAST)))
    rows = [_row(row, letters, columns, paths) for row in of.rows]
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
        f"\\label{{tab:{key}}}\\smallskip",
        f"\\fitted{{\\begin{{tabular}}{{{''.join(columns)}}}",
        r"\toprule",
        f"{heads} \\\\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}}",
        *below,
        r"\end{table}",
    ]
    return "\n".join(lines)


def _row(row: Row, letters: dict[str, str], columns: list[str], paths: dict[int, str]) -> str:
    if row.kind == GROUP:
        return f"\\multicolumn{{{len(columns)}}}{{l}}{{\\textit{{{text(row.name)}}}}} \\\\"
    name = text(row.name) if row.kind == PUBLISHED else f"\\textbf{{{text(row.name)}}}"
    cells = [_number(cell.text) + _sup(layout.marks(cell, letters)) for cell in row.cells]
    runs = (str(len(row.runs) or ""), text(layout.ranges(row.runs)))
    whence = ", ".join(_comment(paths[number]) for number in row.runs)
    name = _ragged(name) if columns[0] == WRAPPED else name
    return " & ".join([name, *cells, *runs]) + r" \\" + (f" % {whence}" if whence else "")


def _number(value: str) -> str:
    """A number with a minus, where it has one, and not a hyphen."""
    return text(value).replace("-", "$-$", 1) if value.startswith("-") else text(value)


def _sup(marks: str) -> str:
    return f"\\textsuperscript{{{marks}}}" if marks else ""


def _listing(runs: Sequence[Listed]) -> str:
    heads = " & ".join(map(text, listing.HEADER))
    columns = ["r", WRAPPED, WRAPPED, *"lll"]
    return _float("runs", "The runs behind our rows", columns, heads, list(map(_run, runs)), ())


def _run(run: Listed) -> str:
    what, *others = map(text, run.cells)
    cells = [
        str(run.number),
        _ragged(f"\\texttt{{{text(str(run.workdir))}}}"),
        _ragged(what),
        *others,
    ]
    return " & ".join(cells) + r" \\"


def _ragged(cell: str) -> str:
    r"""Of a wrapped column, which is not the last: paths and fields may break behind their signs.

    Examples:
      >>> _ragged(r"\texttt{a\_b/c} train.decay = 0.2")
      '\\raggedright \\texttt{a\\_\\allowbreak{}b/\\allowbreak{}c} train.\\allowbreak{}decay = 0.2'
    """
    return r"\raggedright " + BREAKS.sub(r"\1\\allowbreak{}", cell)


def _comment(value: str) -> str:
    return " ".join(value.split())


def text(value: str) -> str:
    r"""A text as it is read, whatever signs are in it.

    Examples:
      >>> text("50% of a_b ± 1")
      '50\\% of a\\_b $\\pm$ 1'
    """
    return "".join(SIGNS.get(sign, sign) for sign in value)
