"""Sample quality: every set of images, seen by every network, with how many there were."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from sadajem_jax.report import figures, html, names, ours
from sadajem_jax.report.html import cell, text
from sadajem_jax.report.run import Run, part_of

SHARES = ("precision", "recall", "density", "coverage")
HEADER = (
    *("images", "seen by", "checkpoint", "n", "IS ↑"),
    *("Frechet ↓", "at ∞ ↓", "KID x 1000 ↓", *SHARES),
)
NETWORKS = {"inception": "Inception", "efficientnet_lite0": "EfficientNet-Lite0"}
EXPLAINED = (
    "Samples beside real images, as networks see them; each network has a scale of its own, and "
    "only Inception's Frechet distance is FID. At ∞: extrapolated to endless samples. KID: "
    "unbiased at any n, 0 for images of the same law. Precision: share of samples among the real "
    "images; recall: share of real images among the samples. Density: how many real neighbourhoods "
    "a sample lies in, 1 for real images; coverage: share of real neighbourhoods with a sample in "
    "them. Of these four higher is better."
)


def section(run: Run) -> str:
    """The table of all that was judged, and the notes."""
    found = {
        name: record
        for name, record in run.pieces.items()
        if part_of(name, record) == "quality" and "not_computed" not in record
    }
    if not found:
        return ""
    rows = [_row(run, name, record) for name, record in found.items()]
    notes = "".join(f"<li>{text(note)}</li>" for note in run.notes("quality"))
    return (
        f"{html.heading('Sample quality')}\n<p>{text(EXPLAINED)}</p>\n"
        f"{html.table(HEADER, rows, kind='all')}\n<ul class='soft'>{notes}</ul>\n"
        f"{figures.of(run, 'quality')}"
    )


def _row(run: Run, name: str, record: Mapping[str, Any]) -> html.Row:
    settings, subject = record.get("settings", {}), run.subject(name, record)
    stem, network = _stem(record.get("metrics", ())), settings.get("network", "–")

    def value(*names: str) -> float | None:
        key = next((k for name in names if (k := f"{stem}/{name}") in run.metrics), None)
        return None if key is None else run.tell(key)

    kid = value("kid")
    cells = (
        _images(settings),
        NETWORKS.get(network, network),
        ours.which(run, subject),
        _count(run, stem),
        cell(value("inception_score"), "{:.2f}"),
        cell(value("fid", "frechet")),
        cell(value("fid_infinity", "frechet_infinity")),
        cell(None if kid is None else 1000 * kid, "{:.3g}"),
        *(cell(value(share), "{:.3f}") for share in SHARES),
    )
    return "older" if run.is_older(subject) else "", cells


def _stem(metrics: tuple[str, ...]) -> str:
    """What a piece's names begin with: all are one word longer."""
    return metrics[0].rpartition("/")[0] if metrics else ""


def _images(settings: Mapping[str, Any]) -> str:
    """Sets by their names; files by the last word of their paths."""
    against, images = (str(settings.get(key, "")) for key in ("against", "images"))
    judged = pathlib.PurePath(images).name or "–"
    training = against.startswith("training")
    return judged if training else f"{judged} against {pathlib.PurePath(against).name}"


def _count(run: Run, stem: str) -> str:
    """Images judged; in the released protocol those of each measure."""
    if stem.endswith(names.RELEASED.rstrip("/")):
        of = [run.metrics.get(f"{stem}/{name}_images") for name in ("inception_score", "fid")]
        return " and ".join(cell(value, "{:,.0f}") for value in of)
    return cell(run.metrics.get(f"{stem}/images"), "{:,.0f}")
