"""The landscape's pictures: curves along lines, contours and surfaces over a plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.evaluation.landscape.lines import Lines
from sadajem_jax.evaluation.landscape.plane import Plane
from sadajem_jax.evaluation.landscape.surface import QUANTITIES
from sadajem_jax.workdir.figure import Figure

TITLES = {"evaluation": "running statistics", "batch": "the batch's statistics"}
COLOURS = {"energy": curves.BLUE, "loss": curves.RED}
LEVELS = 18  # of the contours
STEP = "step, lengths of the filters"


def of_lines(found: Mapping[str, Lines], of: str) -> Figure:
    """Curves of energy and loss, a column a treatment of batch norm.

    Args:
      found: {treatment: its lines}.
      of: what the means are over, for the caption.
    """
    figure, panels = curves.canvas(2, len(found), (4.6 * len(found), 5.6))
    for panel, (quantity, treatment) in zip(panels, _cells(found), strict=True):
        one = found[treatment]
        values, colour = getattr(one, quantity), COLOURS[quantity]
        panel.plot(one.steps, values.T, color=colour, alpha=0.3, lw=0.8)
        panel.plot(one.steps, values.mean(axis=0), color=colour, lw=2, label="mean")
        spread = values.mean(axis=0) + np.outer((-1, 1), values.std(axis=0))
        band = "mean ± standard deviation"
        panel.fill_between(one.steps, *spread, color=colour, alpha=0.12, lw=0, label=band)
        curves.heading(panel, f"{quantity}, {TITLES[treatment]}")
        panel.set_ylabel("nats an image")
    panels[0].legend()
    for panel in panels[-len(found) :]:
        panel.set_xlabel(STEP)
    count = len(next(iter(found.values())).energy)
    caption = (
        f"Energy E = -log p(x) - log Z and classification loss along {count} filter-normalised "
        f"random lines through the parameters (as the paper's Figures 1 and 7): means over {of}."
    )
    return Figure("landscape_lines", curves.png(figure), ".png", _arrays(found), caption)


def contours(found: Mapping[str, Plane], of: str) -> Figure:
    """Contours of energy and loss over the plane, a column a treatment of batch norm."""
    figure, panels = curves.canvas(2, len(found), (4.6 * len(found), 7.4))
    for panel, (quantity, treatment) in zip(panels, _cells(found), strict=True):
        one = found[treatment]
        values = getattr(one, quantity)
        drawn = panel.contourf(one.steps, one.steps, values, _levels(values), cmap="viridis")
        panel.contour(drawn, colors="white", linewidths=0.4, linestyles="solid")
        panel.plot(0, 0, "+", color="white", ms=9)
        bar = figure.colorbar(drawn, ax=panel, shrink=0.85, format="%.3g")
        bar.ax.tick_params(labelsize=7)
        panel.set_aspect("equal")
        panel.grid(visible=False)
        curves.heading(panel, f"{quantity}, nats an image, {TITLES[treatment]}")
    _name_axes(panels)
    caption = (
        "Energy and classification loss on a random plane through the parameters (the cross), "
        f"steps in lengths of the filters: means over {of}. Each panel has its own scale."
    )
    return Figure("landscape_contours", curves.png(figure), ".png", _arrays(found), caption)


def surfaces(found: Mapping[str, Plane], of: str) -> Figure:
    """The same plane as surfaces; its arrays are those of the contours."""
    figure, panels = curves.canvas(2, len(found), (4.6 * len(found), 7.6), projection="3d")
    for panel, (quantity, treatment) in zip(panels, _cells(found), strict=True):
        one = found[treatment]
        first, second = np.meshgrid(one.steps, one.steps)
        values = getattr(one, quantity)
        panel.plot_surface(first, second, values, cmap="viridis", rcount=60, ccount=60, lw=0)
        panel.locator_params(nbins=5)
        panel.view_init(elev=32, azim=-55)
        curves.heading(panel, f"{quantity}, nats an image, {TITLES[treatment]}")
    _name_axes(panels)
    caption = f"The same plane as surfaces: energy and classification loss, means over {of}."
    return Figure("landscape_surfaces", curves.png(figure), ".png", _arrays(found), caption)


def _cells(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(quantity, treatment) of the panels, row by row."""
    return [(quantity, treatment) for quantity in QUANTITIES for treatment in found]


def _levels(values: np.ndarray) -> np.ndarray:
    """Of the contours, closer together where the values are: the rims are steep."""
    found = np.unique(np.quantile(values, np.linspace(0, 1, LEVELS)))
    return found if len(found) > 1 else found[0] + np.array([-0.5, 0.5])  # where all are one


def _name_axes(panels: list[Any]) -> None:
    for panel in panels:
        panel.set_xlabel("first direction", fontsize=8)
        panel.set_ylabel("second direction", fontsize=8)


def _arrays(found: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """{"TREATMENT/energy": ..., "TREATMENT/loss": ..., "TREATMENT/steps": ...}."""
    return {
        f"{treatment}/{name}": values
        for treatment, one in found.items()
        for name, values in one._asdict().items()
    }
