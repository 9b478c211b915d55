"""Accuracy, Inception Score and FID: ours, then the paper's rows for this data set."""

from __future__ import annotations

from collections.abc import Iterator

from sadajem_jax.report import html, names, ours, paper_numbers
from sadajem_jax.report.html import cell, text
from sadajem_jax.report.run import Run, Subject

HEADER = ("", "accuracy, %", "Inception Score", "FID")


def section(run: Run) -> str:
    """One table of all systems, and the paper's own studies below it."""
    run, left_out = ours.credited(run)
    paper = paper_numbers.GENERATION.get(run.data, ())
    subjects = run.with_numbers("test/accuracy", *names.INCEPTION_SCORE, *names.FID)
    found = [row for subject in subjects for row in _our_rows(run, subject)]
    rows = [*found, *map(_paper_row, paper)]
    has_scores = bool(run.with_numbers(*names.INCEPTION_SCORE, *names.FID))
    if not paper and len(rows) < 2 and not has_scores:
        return ""  # the accuracy of one model stands at the top
    title = "Beside the paper" if paper else "Accuracy and scores"
    more = f"<p>{text(left_out)}</p>" if left_out else ""
    return (
        f"{html.heading(title)}\n{_differences(run)}{more}"
        f"{_without_empty_columns(rows)}{_studies(run.data)}"
    )


def _our_rows(run: Run, subject: Subject) -> Iterator[html.Row]:
    """A row a protocol, the paper's first; one of the accuracy alone where there is neither."""
    protocols = list(zip(names.INCEPTION_SCORE, names.FID, strict=True))
    there = [pair for pair in protocols if run.name_of(subject, *pair)]
    for score, fid in there or protocols[1:]:
        yield _our_row(run, subject, score, fid)


def _our_row(run: Run, subject: Subject, score: str, fid: str) -> html.Row:
    accuracy = run.value(subject, "test/accuracy")
    cells = (
        cell(None if accuracy is None else 100 * accuracy, "{:.2f}"),
        cell(run.value(subject, score), "{:.2f}"),
        cell(run.value(subject, fid), "{:.2f}"),
    )
    behind = run.behind(run.name_of(subject, "test/accuracy"))
    share = names.share(behind.get("size"))
    more = [f"{share} test images" if share else "", _under_noise(run, subject)]
    more.append(_of_images(run, subject, score, fid))
    return ours.row(run, subject, cells, ", ".join(filter(None, more)))


def _under_noise(run: Run, subject: Subject) -> str:
    """JEM's accuracy is published under noise: ours under it, where there is one."""
    value = run.value(subject, names.UNDER_NOISE)
    if value is None:
        return ""
    of = names.noise_of(run.behind(run.name_of(subject, names.UNDER_NOISE)))
    return f"{100 * value:.2f}% under noise of {of}"


def _of_images(run: Run, subject: Subject, score: str, fid: str) -> str:
    """The protocol and the images; IS and FID are of different ones in the released protocol."""
    counts = [cell(run.value(subject, f"{name}_images"), "{:,.0f}") for name in (score, fid)]
    if "–" in counts:
        return ours.judged(run, subject, fid)
    return f"released protocol, {' and '.join(counts)} images"


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
    said += " JEM's accuracy is under noise of 0.03 on the test images."
    if (model["depth"], model["width"]) != (28, 10):
        said += f" This run's network is a WRN-{model['depth']}-{model['width']}."
    if run.with_numbers(*names.INCEPTION_SCORE, *names.FID):
        said += (
            " The paper's Inception Score and FID are by the released protocol: of the most "
            "confident 10% and 90% of each class of the buffer."
        )
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
