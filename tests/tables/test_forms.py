"""Markdown, LaTeX and HTML say the same, whatever signs are in a name; the page is whole."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from sadajem_jax.console import command as commands
from sadajem_jax.report import page as report_page
from sadajem_jax.tables import command, contents, latex, listing, markdown, page
from sadajem_jax.tables.cells import Cell
from sadajem_jax.tables.table import OURS, Row, Table
from tests.report.made_up import Page
from tests.tables import planted
from tests.tables.planted import run

SIGNS = r"50% & #1_{x} ~^ $5 \ <b> | a*b"
OUR_CELL = Cell("-1.0 ± 2.0", ('W: "1" <x>',), (f"Note {SIGNS}",))
MADE = Table(
    "t",
    f"Title {SIGNS}",
    ("", "FID"),
    (
        Row("Published", (Cell("3.5"),)),
        Row(f"Ours: {SIGNS}", (OUR_CELL,), OURS, (1, 2)),
    ),
)


def test_latex_escapes_every_sign() -> None:
    """No special sign of a text reaches LaTeX, numbers have a minus, and paths are comments."""
    text = latex.table(MADE, {1: "runs/a_b%", 2: "runs/c"})
    row = next(line for line in text.splitlines() if "Ours" in line)
    shown, comment = row.split(r" \\ % ")
    assert comment == "runs/a_b%, runs/c"
    signs = r"50\% \& \#1\_\{x\} \textasciitilde{}\textasciicircum{} \$5 \textbackslash{}"
    assert signs in shown.replace(r"\allowbreak{}", "")
    assert r"$-$1.0 $\pm$ 2.0\textsuperscript{a} & 2 & 1, 2" in shown
    assert "±" not in text and "–" not in text and "<b>" not in text


def test_latex_is_well_formed(tmp_path: pathlib.Path) -> None:
    """Environments and braces close, and every row of a table has its columns."""
    made = run(tmp_path / "a_b", accuracy=0.9).ood("svhn_cropped", 0.9).save()
    rows = planted.rows_of(made)
    text = "\n\n".join(latex.table(t, {1: str(made.path)}) for t in contents.tables(rows))
    plain = re.sub(r"(?<!\\)%.*", "", text)
    bare = re.sub(r"\\[{}%&#_$]", "", plain)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    for name in ("table", "tabular"):
        assert plain.count(f"\\begin{{{name}}}") == plain.count(f"\\end{{{name}}}") == 6
    for block in re.findall(r"\\begin\{tabular\}\{(.*?)\}\n(.*?)\\end", plain, re.DOTALL):
        columns = len(re.sub(r"p\{.*?\}", "l", block[0]))
        cells = [row.count("&") for row in block[1].replace(r"\&", "").splitlines() if "&" in row]
        assert set(cells) == {columns - 1}


def test_latex_wraps_what_is_long() -> None:
    """Long names, paths and descriptions stand in columns of a width, and every table is fitted.

    A path breaks behind its signs alone, and with the breaks taken out it is the path.
    """
    folder = pathlib.Path("runs/sweep/cifar10-jempp_no_da_l2__sam.rho=0.05__seed=0")
    what = "JEM++ w/o DA + energy L2, K = 10, rho = 0.05, WRN-10-1, 2,000 steps; CIFAR-10"
    long = MADE._replace(rows=(Row(f"Ours: {what}", (OUR_CELL,), OURS, (1,)),))
    listed = listing.Listed(1, folder, (what, "0", "step 2,000", "0.1.0"))
    short = MADE._replace(rows=(Row("Ours: SADA-JEM, K = 5", (OUR_CELL,), OURS, (1,)),))
    text = latex.document("T", "E", [short, long], [listed])
    columns = re.findall(r"\\fitted\{\\begin\{tabular\}\{(.*)\}\n", text)
    assert columns == ["lrrl", r"p{0.4\linewidth}rrl", r"rp{0.4\linewidth}p{0.4\linewidth}lll"]
    assert text.count(r"\end{tabular}}") == 3
    (row,) = [line for line in text.splitlines() if line.startswith("1 & ")]
    _, path, described, *_ = row.split(" & ")
    assert path.startswith(r"\raggedright \texttt{") and described.startswith(r"\raggedright JEM")
    words = path.removeprefix(r"\raggedright \texttt{").removesuffix("}").split(r"\allowbreak{}")
    assert "".join(words).replace("\\", "") == str(folder) and max(map(len, words)) < 15


def test_markdown_tables_keep_their_columns() -> None:
    """A bar or a star in a name stays text; each line has the header's cells."""
    lines = [line for line in markdown.table(MADE).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
    assert r"a\*b" in lines[-1] and r"\|" in lines[-1] and "<sup>a</sup>" in lines[-1]


def test_html_shows_texts_and_where_they_are_from() -> None:
    """Signs are text; a number's sources show when one points at it; runs are links."""
    text = page.document("T", "E", [MADE], [])
    found = Page(text)
    assert not found.open and "<b>" not in text
    assert [f"Ours: {SIGNS}", "-1.0 ± 2.0", "2", ", "] in found.rows
    assert 'title="W: &quot;1&quot; &lt;x&gt;"' in text and '<a href="#run2">2</a>' in text


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What the command writes of two seeds, in a folder of its own."""
    folder = tmp_path_factory.mktemp("written")
    for seed in range(2):
        made = run(folder / f"s{seed}", seed, data="digits", accuracy=0.9 + seed / 50)
        planted.log(made, *({"step": n, "epoch": n / 10, "accuracy": n / 10} for n in (1, 2)))
    (folder / "empty").mkdir()
    argv = [*map(str, sorted(folder.iterdir())), "--out", str(folder / "out")]
    assert commands.run(command.tables, argv) == 0
    return folder


def test_a_copy_is_named_and_not_counted(tmp_path: pathlib.Path, capsys: Any) -> None:
    """Of two runs of one seed the second, of both its models, is named once, in every form."""
    for name in ("a", "b"):
        made = run(tmp_path / name, accuracy=0.9)
        made.piece("accuracy", {"test/accuracy": 0.8}, "best/", step=100).save()
    argv = [f"{tmp_path}/a", f"{tmp_path}/b", f"--out={tmp_path}/out"]
    assert commands.run(command.tables, argv) == 0
    said = f"{tmp_path}/b is not counted: it has the settings and the seed (0) of {tmp_path}/a"
    assert capsys.readouterr().out.count(f"note: {said}\n") == 1
    for name in ("index.html", "tables.md", "tables.tex"):
        assert (tmp_path / "out" / name).read_text().replace("\\", "").count(said) == 1


def test_the_page_is_whole_and_names_nothing_outside(written: pathlib.Path) -> None:
    """All tags close, there is no script, and every address is data or a run in its list."""
    found = Page((written / "out" / "index.html").read_text())
    assert not found.open and "<script" not in found.text and "url(" not in found.text
    links = {a for a in found.addresses if not a.startswith("data:")}
    assert links == {"#run1", "#run2"} and all(f'id="{a[1:]}"' in found.text for a in links)
    assert any(a.startswith("data:image/png") for a in found.addresses)


@pytest.mark.parametrize("name", ["index.html", "tables.md", "tables.tex"])
def test_every_form_has_the_row_and_the_workdirs(written: pathlib.Path, name: str) -> None:
    """Mean and deviation stand in each file, and the folders of both runs."""
    text = (written / "out" / name).read_text().replace(r"$\pm$", "±").replace("\\", "")
    assert "91.00 ± 1.41" in text and "95.5" in text
    assert f"{written}/s0" in text and f"{written}/s1" in text


def test_the_same_runs_give_the_same_bytes(written: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Every file, figures too, is a function of the runs."""
    command.write([written / "s0", written / "s1"], tmp_path)
    for path in (written / "out").rglob("*"):
        if path.is_file() and path.suffix != ".npz":  # zip archives hold the time
            assert path.read_bytes() == (tmp_path / path.relative_to(written / "out")).read_bytes()


def test_the_report_keeps_its_own_style(written: pathlib.Path) -> None:
    """The tables' style is no part of a run's report."""
    report = report_page.write(written / "s0").read_text()
    assert "tr.group" in (written / "out" / "index.html").read_text() and "tr.group" not in report


@pytest.mark.parametrize("what", ["nothing", "a missing folder", "folders without runs"])
def test_mistakes_are_one_line(tmp_path: pathlib.Path, capsys: Any, what: str) -> None:
    """Without a run the exit status is 2, and one line says what was expected."""
    argv = {"nothing": [], "a missing folder": [f"{tmp_path}/x"]}.get(what, [str(tmp_path)])
    assert commands.run(command.tables, argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_a_damaged_file_is_named(tmp_path: pathlib.Path, capsys: Any) -> None:
    """A truncated metrics.json stops the command, and nothing is written."""
    made = run(tmp_path / "a", accuracy=0.9)
    (made.path / "metrics.json").write_text('{"test')
    assert commands.run(command.tables, [str(made.path), f"--out={tmp_path}/out"]) == 2
    assert "metrics.json" in capsys.readouterr().err and not (tmp_path / "out").exists()
