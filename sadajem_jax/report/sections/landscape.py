"""How sharp energy and loss are around the parameters: a row a model, quantity and batch norm."""

from __future__ import annotations

from sadajem_jax.report import figures, html, ours
from sadajem_jax.report.html import cell, text
from sadajem_jax.report.run import Run, Subject

HEADER = (
    "",
    "of",
    "batch norm",
    "mean, nats",
    "range on a line",
    "largest eigenvalue",
    "lowest",
    "within",
    "trace",
    "SAM's rise",
)
TREATMENTS = {"evaluation": "running statistics", "batch": "the batch's"}
QUANTITIES = ("energy", "loss")
NUMBERS = ("mean", "line_range", "eigenvalue_1", "eigenvalue_lowest", "eigenvalue_error")
EXPLAINED = (
    "Energy E = -log p(x) - log Z and classification loss as functions of the parameters, in nats "
    "an image. Range on a line: from the lowest to the highest point of a filter-normalised random "
    "line. Eigenvalues and trace (with its standard error) are the Hessian's; a true eigenvalue "
    "lies within the stated distance of the largest ones. SAM's rise: how much the quantity grows "
    "at SAM's perturbation. The flatter of two models has smaller ranges, eigenvalues and rises."
)


def section(run: Run) -> str:
    """The table, and the notes of what was measured."""
    subjects = run.with_numbers("landscape/")
    if not subjects:
        return ""
    rows = [
        _row(run, subject, treatment, quantity)
        for subject in subjects
        for treatment in TREATMENTS
        for quantity in QUANTITIES
        if run.name_of(subject, *_names(treatment, quantity))
    ]
    notes = "".join(f"<li>{text(note)}</li>" for note in run.notes("landscape"))
    return (
        f"{html.heading('Sharpness')}\n<p>{text(EXPLAINED)}</p>\n{html.table(HEADER, rows)}\n"
        f"<ul class='soft'>{notes}</ul>\n{figures.of(run, 'landscape')}"
    )


def _names(treatment: str, quantity: str) -> list[str]:
    return [f"landscape/{treatment}/{quantity}/{name}" for name in (*NUMBERS, "trace", "sam_rise")]


def _row(run: Run, subject: Subject, treatment: str, quantity: str) -> html.Row:
    prefix = f"landscape/{treatment}/{quantity}"
    cells = [cell(run.value(subject, f"{prefix}/{name}"), "{:.3g}") for name in NUMBERS]
    rise = cell(run.value(subject, f"{prefix}/sam_rise"), "{:.3g}")
    names = quantity, TREATMENTS[treatment]
    return ours.row(run, subject, [*names, *cells, _trace(run, subject, prefix), rise])


def _trace(run: Run, subject: Subject, prefix: str) -> str:
    mean, error = (run.value(subject, f"{prefix}/{name}") for name in ("trace", "trace_stderr"))
    return "–" if mean is None or error is None else f"{mean:.3g} ± {error:.2g}"
