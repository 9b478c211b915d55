"""Expected calibration error and nll, before and after a temperature; then the paper's ECE."""

from __future__ import annotations

from sadajem_jax.report import figures, html, names, ours, paper_numbers
from sadajem_jax.report.html import cell, text
from sadajem_jax.report.run import Run, Subject

HEADER = (
    *("", "ECE", "by chance alone", "temperature"),
    *("ECE before", "ECE after", "nll before", "nll after"),
)
UNSCALED, TEMPERATURE = "calibration/ece_unscaled", "calibration/temperature"
NO_OPTIMUM = "none is best"
EXPLAINED = (
    "By chance alone: the ECE that a perfectly calibrated model of these confidences would get "
    "from this many images. Before and after: logits divided by 1 and by the temperature, on the "
    "images that it was not fitted on; nll in nats. Lower is better of all but the temperature."
)


def section(run: Run) -> str:
    """The table, and the notes of what was measured."""
    subjects = run.with_numbers("calibration/ece")
    if not subjects:
        return ""
    rows = [_our_row(run, subject) for subject in subjects]
    for system, value in paper_numbers.ECE.get(run.data, {}).items():
        rows.append(("", (system, f"{value:.2f}%", *["–"] * (len(HEADER) - 2))))
    notes = " ".join([EXPLAINED, *run.notes("calibration")])
    return (
        f"{html.heading('Calibration')}\n<p>{text(notes)}</p>\n{html.table(HEADER, rows)}\n"
        f"{figures.of(run, 'calibration')}"
    )


def _our_row(run: Run, subject: Subject) -> html.Row:
    """A dash where there is no number."""

    def shown(form: str, *names: str) -> list[str]:
        return [cell(run.value(subject, f"calibration/{name}"), form) for name in names]

    cells = [
        *shown("{:.2%}", "ece", "ece_by_chance"),
        _temperature(run, subject),
        *shown("{:.2%}", "ece_unscaled", "ece_scaled"),
        *shown("{:.3f}", "nll_unscaled", "nll_scaled"),
    ]
    behind = run.behind(run.name_of(subject, "calibration/ece"))
    share = names.share(behind.get("size"))
    return ours.row(run, subject, cells, f"{share} test images" if share else "")


def _temperature(run: Run, subject: Subject) -> str:
    """Where one was sought and not found, its likelihood has no optimum in the range searched."""
    found = run.value(subject, TEMPERATURE)
    was_sought = run.name_of(subject, UNSCALED) is not None
    return NO_OPTIMUM if found is None and was_sought else cell(found, "{:.3f}")
