"""Expected calibration error: ours of every model, then the paper's."""

from __future__ import annotations

from sadajem_jax.report import figures, html, names, ours, paper_numbers
from sadajem_jax.report.html import cell, text
from sadajem_jax.report.run import Run, Subject

HEADER = ("", "ECE", "by chance alone", "before scaling", "after scaling", "temperature")
ERRORS = ("ece", "ece_by_chance", "ece_unscaled", "ece_scaled")
EXPLAINED = (
    "By chance alone: the ECE that a perfectly calibrated model of these confidences would get "
    "from this many images. Before and after scaling are on the images that the temperature was "
    "not fitted on."
)


def section(run: Run) -> str:
    """The table, and the notes of what was measured."""
    subjects = run.with_numbers("calibration/ece")
    if not subjects:
        return ""
    rows = [_our_row(run, subject) for subject in subjects]
    for system, value in paper_numbers.ECE.get(run.data, {}).items():
        rows.append(("", (system, f"{value:.2f}%", "–", "–", "–", "–")))
    notes = " ".join([EXPLAINED, *run.notes("calibration")])
    return (
        f"{html.heading('Calibration')}\n<p>{text(notes)}</p>\n{html.table(HEADER, rows)}\n"
        f"{figures.of(run, 'calibration')}"
    )


def _our_row(run: Run, subject: Subject) -> html.Row:
    """A dash where there is no number, as of a temperature that has no optimum."""
    errors = [run.value(subject, f"calibration/{name}") for name in ERRORS]
    temperature = run.value(subject, "calibration/temperature")
    cells = [*(cell(value, "{:.2%}") for value in errors), cell(temperature, "{:.3f}")]
    behind = run.behind(run.name_of(subject, "calibration/ece"))
    share = names.share(behind.get("size"))
    return ours.row(run, subject, cells, f"{share} test images" if share else "")
