"""W/report/index.html: all that was evaluated, on one page that needs nothing else.

Plain HTML with its style and pictures inside, no script and no outside link; made anew from W's
files at every evaluation and while a training goes on, so that it can be moved, mailed and
printed.
"""

from __future__ import annotations

import importlib.resources
import pathlib

from sadajem_jax.report import html, training
from sadajem_jax.report.run import Run
from sadajem_jax.report.sections import (
    beside_paper,
    calibration,
    detection,
    headline,
    landscape,
    not_computed,
    numbers,
    other_figures,
    quality,
    robustness,
    samples,
    setting,
)
from sadajem_jax.report.sections import training as so_far
from sadajem_jax.workdir import files
from sadajem_jax.workdir.records import read_json

SECTIONS = (
    headline.section,
    so_far.section,
    samples.section,
    beside_paper.section,
    quality.section,
    detection.section,
    calibration.section,
    robustness.section,
    landscape.section,
    other_figures.section,
    not_computed.section,
    numbers.section,
    setting.section,
)


def write(workdir: pathlib.Path) -> pathlib.Path:
    """Writes W/report/index.html from W's files, replaced atomically; returns its path.

    Raises:
      UserError: if one of the files is damaged; the page that was there stays.
    """
    run = read(workdir)
    body = "\n".join(filter(None, (section(run) for section in SECTIONS)))
    style = importlib.resources.files(__package__).joinpath("style.css").read_text("utf-8")
    path = workdir / "report" / "index.html"
    files.write_text_atomically(path, html.document(headline.title(run), style, body))
    return path


def read(workdir: pathlib.Path) -> Run:
    """What W's files hold; nothing for a file that is not there."""
    pieces = read_json(workdir / "evaluation.json")
    parts = pieces.pop("parts", ())
    config = read_json(workdir / "config.json")
    return Run(
        workdir=workdir,
        config=config,
        metrics=read_json(workdir / "metrics.json"),
        provenance=read_json(workdir / "metrics_provenance.json"),
        pieces=pieces,
        parts=tuple(parts),
        training=training.read(workdir, config),
    )
