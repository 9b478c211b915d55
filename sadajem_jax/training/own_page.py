"""A run's own page, W/report/index.html, made while it trains from what is known by then."""

from __future__ import annotations

import logging
import pathlib

from sadajem_jax.console.errors import first_line
from sadajem_jax.evaluation import curves
from sadajem_jax.report import page
from sadajem_jax.report.training import CURVES
from sadajem_jax.workdir import files

LOGS = ("train_metrics.jsonl", "eval_metrics.jsonl")

logger = logging.getLogger(__name__)


def made(workdir: pathlib.Path) -> str:
    """Draws the curves and writes the page; returns "", or in a line why it could not be.

    A picture that cannot be drawn is no reason for a training to end.
    """
    try:
        rows, judged = (files.read_json_lines(workdir / name) for name in LOGS)
        if rows:  # else the page has a sentence and the config
            (figure,) = curves.learning_curves(rows, judged)
            files.write_bytes_atomically(workdir / CURVES, figure.data)
        page.write(workdir)
    except Exception as error:  # whatever it is: the training matters more
        logger.debug("the page of %s", workdir, exc_info=True)
        return f"the page {workdir / 'report'} was not made: {first_line(error)}"
    return ""
