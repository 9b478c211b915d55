"""Robustness: accuracy under PGD by size, what each attack of AutoAttack left, and purified."""

from __future__ import annotations

from collections.abc import Sequence

from sadajem_jax.report import figures, html, ours
from sadajem_jax.report.html import cell, text
from sadajem_jax.report.run import Run, Subject

NORMS = {"l_inf": "L∞", "l_2": "L2"}
LEVELS = (1, 2, 4, 8, 12, 16, 22, 30)  # in 1/255, the paper's
RADII = ("0.25", "0.5", "1.0")
BALLS = {"l_inf_8": "L∞, 8/255", "l_2_0.5": "L2, 0.5"}
ATTACKS = {"apgd-ce": "APGD-CE", "apgd-t": "APGD-T", "fab-t": "FAB-T", "square": "Square"}
PURIFIED = {
    "clean": "clean_accuracy",
    "worst case": "accuracy",
    "full gradient": "full_gradient/accuracy",
    "BPDA": "bpda/accuracy",
    "transfer": "transfer/accuracy",
    "network alone, clean": "static/clean_accuracy",
    "network alone, attacked": "static/accuracy",
}
EXPLAINED = (
    "Shares of n test images that are still classified rightly; sizes are on the scale of [0, 1], "
    "where 8/255 is 16/255 on [-1, 1]. AutoAttack's last column is the accuracy to quote: an image "
    "stands if none of the four attacks broke it. Behind the chain it is the worst case: an image "
    "stands if neither gradient broke it, nor the point where PGD on the network alone ended."
)


def section(run: Run) -> str:
    """The tables of what was attacked, and the notes."""
    tables = "\n".join(filter(None, (_pgd(run), _autoattack(run), _purified(run))))
    if not tables:
        return ""
    notes = "".join(f"<li>{text(note)}</li>" for note in run.notes("robustness"))
    return (
        f"{html.heading('Robustness')}\n<p>{text(EXPLAINED)}</p>\n{tables}\n"
        f"<ul class='soft'>{notes}</ul>\n{figures.of(run, 'robustness')}"
    )


def _pgd(run: Run) -> str:
    levels = [f"eps_{level}/accuracy" for level in LEVELS]
    names = ["clean_accuracy", *levels, *(f"radius_{radius}/accuracy" for radius in RADII)]
    header = ("", "norm", "n", "clean", *(f"{level}/255" for level in LEVELS), *RADII)
    groups = {f"robustness/{norm}": shown for norm, shown in NORMS.items()}
    return _table(run, groups, names, header, "PGD, 50 steps from a random start")


def _autoattack(run: Run) -> str:
    names = ["clean_accuracy", *(f"after_{attack}" for attack in ATTACKS)]
    header = ("", "ball", "n", "clean", *(f"after {attack}" for attack in ATTACKS.values()))
    groups = {f"robustness/autoattack/{ball}": shown for ball, shown in BALLS.items()}
    return _table(run, groups, names, header, "AutoAttack, standard version")


def _purified(run: Run) -> str:
    header = ("", "ball", "n", *PURIFIED)
    groups = {"robustness/purified": BALLS["l_inf_8"]}
    caption = "Behind the model's own chain, under PGD"
    return _table(run, groups, list(PURIFIED.values()), header, caption)


def _table(
    run: Run, groups: dict[str, str], names: Sequence[str], header: Sequence[str], caption: str
) -> str:
    """A row a model and group of metrics {what its names begin with: what it is called}."""
    rows = [
        _row(run, subject, shown, [f"{start}/{name}" for name in names])
        for subject in run.with_numbers(*(f"{start}/" for start in groups))
        for start, shown in groups.items()
        if run.name_of(subject, *(f"{start}/{name}" for name in names))
    ]
    return html.table(header, rows, caption) if rows else ""


def _row(run: Run, subject: Subject, shown: str, keys: list[str]) -> html.Row:
    cells = [cell(run.value(subject, key), "{:.1%}") for key in keys]
    return ours.row(run, subject, [shown, _images(run, subject, keys), *cells])


def _images(run: Run, subject: Subject, keys: list[str]) -> str:
    """How many images the numbers are of; all counts where pieces of a row differ."""
    found = (run.name_of(subject, key) for key in keys)
    sizes = (run.behind(key).get("size") for key in found if key)
    counts = dict.fromkeys(f"{size['images']:,}" for size in sizes if size)
    return " or ".join(counts) or "–"
