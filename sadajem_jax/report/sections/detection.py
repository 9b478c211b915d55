"""Out-of-distribution detection: AUROC of each score beside the paper's, then all our numbers."""

from __future__ import annotations

from collections.abc import Mapping

from sadajem_jax.report import figures, html, names, ours, paper_numbers
from sadajem_jax.report.html import cell, text
from sadajem_jax.report.run import Run, Subject, prefix_of

MEASURES = {"auroc": "AUROC ↑", "aupr": "AUPR ↑", "fpr95": "FPR at 95% TPR ↓"}
EXPLAINED = (
    "The test set against each other set, told apart by log p(x), by the confidence max p(y|x), or "
    "by the approximate mass, which is minus the length of log p(x)'s gradient in the image. "
    "AUROC: higher is better, 0.5 is chance. AUPR: higher is better, chance is the test set's "
    "share of all the images. FPR at 95% TPR: lower is better, 0.95 is chance."
)


def section(run: Run) -> str:
    """The paper's tables with rows of ours, then every measure of every set."""
    if not run.ood_labels():
        return ""
    paper = paper_numbers.OOD_AUROC.get(run.data, {})
    tables = [_auroc(run, score, rows) for score, rows in paper.items()]
    notes = "".join(f"<li>{text(note)}</li>" for note in run.notes("ood"))
    return (
        f"{html.heading('Detecting what was not trained on')}\n<p>{text(EXPLAINED)}</p>\n"
        f"{''.join(tables)}\n{_all_measures(run)}\n<ul class='soft'>{notes}</ul>\n"
        f"{figures.of(run, 'ood')}"
    )


def _auroc(run: Run, score: str, paper: Mapping[str, tuple[float | None, ...]]) -> str:
    rows = [_our_auroc(run, subject, score) for subject in run.with_numbers("ood/")]
    for system, theirs in paper.items():
        rows.append(("", (system, *(cell(value, "{:.2f}") for value in theirs))))
    header = ("", *(_column(run, label) for label in paper_numbers.OOD_SETS))
    caption = f"AUROC of the score {names.SCORES[score]}"
    return html.table(header, rows, caption)


def _our_auroc(run: Run, subject: Subject, score: str) -> html.Row:
    sets = paper_numbers.OOD_SETS
    values = [run.value(subject, f"ood/{label}/{score}/auroc") for label in sets]
    return ours.row(run, subject, [cell(value, "{:.3f}") for value in values])


def _column(run: Run, label: str) -> str:
    """The set's name, and how much of it there was where that is not all."""
    sources = [source for key, source in run.provenance.items() if _is_of(key, label)]
    sources += [record for key, record in run.pieces.items() if _is_of(f"{key}/", label)]
    shares = dict.fromkeys(filter(None, (names.share(s.get("size")) for s in sources)))
    return names.data_set(label) + (f" ({' or '.join(shares)})" if shares else "")


def _is_of(key: str, label: str) -> bool:
    return key.removeprefix(prefix_of(key)).startswith(f"ood/{label}/")


def _all_measures(run: Run) -> str:
    rows = [
        _measured(run, subject, label, score)
        for subject in run.with_numbers("ood/")
        for label in run.ood_labels()
        for score in names.SCORES
        if run.name_of(subject, *(f"ood/{label}/{score}/{kind}" for kind in MEASURES))
    ]
    header = ("set", "score", "checkpoint", *MEASURES.values())
    return html.table(header, rows, "Ours, all measures; the test set is the positive class", "all")


def _measured(run: Run, subject: Subject, label: str, score: str) -> html.Row:
    keys = [f"ood/{label}/{score}/{kind}" for kind in MEASURES]
    share = names.share(run.behind(run.name_of(subject, *keys)).get("size"))
    which = names.data_set(label) + (f" ({share})" if share else "")
    cells = [cell(run.value(subject, key), "{:.3f}") for key in keys]
    kind = "older" if run.is_older(subject) else ""
    return kind, (which, names.SCORES[score], ours.which(run, subject), *cells)
