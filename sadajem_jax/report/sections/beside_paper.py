"""Accuracy, Inception Score and FID: ours, then the paper's rows for this data set."""

from __future__ import annotations

from sadajem_jax.report import html, names, ours, paper_numbers
from sadajem_jax.report.html import cell, text
from sadajem_jax.report.run import Run, Subject

HEADER = ("", "accuracy, %", "Inception Score", "FID")


def section(run: Run) -> str:
    """One table of all systems, and the paper's own studies below it."""
    paper = paper_numbers.GENERATION.get(run.data, ())
    subjects = run.with_numbers("test/accuracy", *names.INCEPTION_SCORE, *names.FID)
    rows = [*(_our_row(run, subject) for subject in subjects), *map(_paper_row, paper)]
    if not rows:
        return ""
    more = "" if paper else f"<p>The paper has no numbers for {text(names.data_set(run.data))}.</p>"
    return (
        f"<h2>Beside the paper</h2>\n{_differences(run)}{more}"
        f"{_without_empty_columns(rows)}{_studies(run.data)}"
    )


def _our_row(run: Run, subject: Subject) -> html.Row:
    accuracy = run.value(subject, "test/accuracy")
    cells = (
        cell(None if accuracy is None else 100 * accuracy, "{:.2f}"),
        cell(run.value(subject, *names.INCEPTION_SCORE), "{:.2f}"),
        cell(run.value(subject, *names.FID), "{:.2f}"),
    )
    behind = run.behind(run.name_of(subject, "test/accuracy"))
    share = names.share(behind.get("size"))
    return ours.row(run, subject, cells, f"{share} test images" if share else "")


def _paper_row(row: paper_numbers.Row) -> html.Row:
    accuracy, score = cell(row.accuracy, "{:.1f}"), cell(row.inception_score, "{:.2f}")
    return "", (row.system, accuracy, score, _fid(row.fid))


def _fid(value: float | None) -> str:
    """With the paper's decimals: two below 10, one above."""
    return cell(value, "{:.1f}" if value and value >= 10 else "{:.2f}")


def _without_empty_columns(rows: list[html.Row]) -> str:
    full = [i for i in range(len(HEADER)) if i == 0 or any(cells[i] != "–" for _, cells in rows)]
    shown = [(kind, [cells[i] for i in full]) for kind, cells in rows]
    return html.table([HEADER[i] for i in full], shown)


def _differences(run: Run) -> str:
    """Says where this run is not what the paper trained, as its rows then are no measure of it."""
    model = run.config.get("model")
    if model is None or run.data not in paper_numbers.GENERATION:
        return ""
    said = "The paper's rows are of a WRN-28-10 trained for 200 epochs."
    if (model["depth"], model["width"]) != (28, 10):
        said += f" This run's network is a WRN-{model['depth']}-{model['width']}."
    return f"<p>{text(said)}</p>\n"


def _studies(data: str) -> str:
    tables = (
        ("The paper's ablation (Table 5, K = 10)", paper_numbers.ABLATION.get(data, ())),
        ("The paper's choice of rho (Table 6, K = 10)", paper_numbers.RHO.get(data, ())),
    )
    return "\n".join(
        html.table(
            ("", "accuracy, %", "FID"),
            [("", (r.system, cell(r.accuracy, "{:.1f}"), _fid(r.fid))) for r in rows],
            caption,
        )
        for caption, rows in tables
        if rows
    )
