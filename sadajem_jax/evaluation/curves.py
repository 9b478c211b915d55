"""Learning curves of a run (Figure 3), from its log; and the look that all plots share."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.parts import Piece
from sadajem_jax.workdir import files
from sadajem_jax.workdir.figure import COLUMNS, Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY, BLUE, RED, GREEN = "#1d2433", "#8a93a3", "#2458a6", "#c0492f", "#2e8b6f"
_PANELS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    # title, (key of the log, legend, colour) of each curve
    (
        "accuracy",
        (
            ("accuracy", "training batches, augmented", BLUE),
            ("val/accuracy", "validation", RED),
        ),
    ),
    (
        "cross-entropy, nats",
        (
            ("cross_entropy", "training batches, augmented", BLUE),
            ("val/nll", "validation", RED),
        ),
    ),
    (
        "log p(x) + log Z, nats",
        (
            ("log_density_data", "data", BLUE),
            ("log_density_samples", "after the chain", RED),
            ("log_density_start", "before the chain", GREY),
        ),
    ),
    (
        "norms",
        (
            ("grad_norm", "gradient (SAM's norm)", BLUE),
            ("score_norm", "score of log p(x)", GREEN),
        ),
    ),
)


def learning_curves(
    train: list[dict[str, Any]], validation: list[dict[str, Any]]
) -> Iterator[Figure]:
    """The curves of a run.

    Args:
      train: rows of W/train_metrics.jsonl, each with "step" and "epoch".
      validation: rows of W/eval_metrics.jsonl, each with "step"; may be empty.

    Yields:
      One figure; its arrays are "KEY" and "KEY/epoch" for each curve that the logs hold.

    Raises:
      UserError: if the training log has no row.
    """
    if not train:
        raise UserError("the training log W/train_metrics.jsonl has no line yet")
    per_epoch = train[-1]["step"] / train[-1]["epoch"]
    arrays: dict[str, np.ndarray] = {}
    for key in [curve[0] for _, curves in _PANELS for curve in curves]:
        rows = [row for row in (validation if key.startswith("val/") else train) if key in row]
        if rows:
            arrays[key] = np.array([row[key] for row in rows], np.float64)
            arrays[f"{key}/epoch"] = np.array([row["step"] / per_epoch for row in rows])
    caption = (
        f"Learning curves over {train[-1]['epoch']:.4g} epochs ({train[-1]['step']:,} steps) of "
        "the labelled stream; each point of training is a mean over the steps since the last."
    )
    yield Figure("learning_curves", _draw(arrays), ".png", arrays, caption)


def pieces(asked: Asked) -> Iterator[Piece]:
    """One piece, of the logs in W."""
    logs = [asked.workdir / name for name in ("train_metrics.jsonl", "eval_metrics.jsonl")]
    lines = [len(log.read_bytes().splitlines()) if log.exists() else 0 for log in logs]
    settings = dict(zip(("lines", "validation lines"), lines, strict=True))
    yield Piece("curves", settings, lambda _: learning_curves(*map(files.read_json_lines, logs)))


def _draw(arrays: dict[str, np.ndarray]) -> bytes:
    figure, panels = canvas(2, 2, (9.0, 5.6))
    for panel, (title, curves) in zip(panels, _PANELS, strict=True):
        heading(panel, title)
        for key, label, colour in curves:
            if key in arrays:
                # Alone, a point would be no line: a run's first minutes.
                marker = "o" if len(arrays[key]) < 3 or key.startswith("val/") else None
                x = arrays[f"{key}/epoch"]
                panel.plot(x, arrays[key], color=colour, label=label, lw=1.2, marker=marker, ms=3)
        if panel.lines:
            panel.legend()
    for panel in panels[2:]:
        panel.set_xlabel("epoch")
    return png(figure)


def canvas(
    rows: int, columns: int, inches: tuple[float, float], projection: str | None = None
) -> tuple[Any, list[Any]]:
    """A matplotlib figure without pyplot's global state, and its axes row by row."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    look: dict[Any, Any] = {
        "font.size": 9,
        "axes.grid": True,
    }
    look |= {"grid.color": "#e4e7ec", "grid.linewidth": 0.6, "axes.axisbelow": True}
    look |= {"axes.edgecolor": GREY, "text.color": INK, "axes.labelcolor": INK}
    with matplotlib.rc_context(look):
        figure = Canvas(figsize=inches, layout="constrained")
        kind = {"projection": projection}
        axes = np.ravel(figure.subplots(rows, columns, subplot_kw=kind)).tolist()
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8, color=GREY)
    return figure, axes


def heading(panel: Axes, text: str) -> None:
    """A panel's title, small and to the left."""
    panel.set_title(text, loc="left", fontsize=9)


LEAST = 2.2  # inches of a column that can be read alone
COLOUR_BAR = "<colorbar>"  # matplotlib's label of one: it belongs to the panel on its left


def png(figure: Any) -> bytes:
    """The bytes of a PNG, of a resolution fit for print; it says where its columns may be cut."""
    for panel in figure.axes:
        if legend := panel.get_legend():
            legend.set_frame_on(False)
            for text in legend.get_texts():
                text.set_fontsize(8)
    data = io.BytesIO()
    # No "Software" entry: the same arrays give the same bytes.
    metadata = {"Software": None, COLUMNS: " ".join(f"{at:.4f}" for at in cuts(figure))}
    figure.savefig(data, format="png", dpi=160, metadata=metadata)
    return data.getvalue()


def cuts(figure: Any) -> list[float]:
    """Where a picture of plots side by side can be cut for a narrow page, in shares of its width.

    Nowhere where its columns are too narrow to stand alone.
    """
    figure.draw_without_rendering()  # lays it out
    boxes = ((panel.get_tightbbox(), panel.get_label()) for panel in figure.axes)
    spans = sorted((box.x0, box.x1, label) for box, label in boxes if box is not None)
    found, end = [0.0], spans[0][1]
    for start, stop, label in spans[1:]:
        if start > end and label != COLOUR_BAR:
            found.append((start + end) / 2 / figure.bbox.width)
        end = max(end, stop)
    widths = np.diff([*found, 1.0]) * figure.get_size_inches()[0]
    return found[1:] if widths.min() >= LEAST else []
