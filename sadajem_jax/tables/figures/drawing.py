"""What the figures of several models share: their arrays, colours, names and panels."""

from __future__ import annotations

import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sadajem_jax.console.errors import UserError, first_line
from sadajem_jax.evaluation import curves
from sadajem_jax.tables.entries import Entry, Member

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (
    *(curves.BLUE, curves.RED, curves.GREEN, "#8a5a00", "#7a4fb0", "#1f9bb5", "#c25a9a"),
    *("#6b7d1f", "#000000", "#8a93a3", "#e08a2e", "#4a6fa5"),
)
STYLES = ("-", "--", ":")  # after all colours, once more
IN_A_ROW, PANEL = 4, (2.7, 2.3)  # panels, and inches of one
NAME_WIDTH, LABEL_WIDTH = 34, 76  # signs of a line of a panel's name, and of a legend's


class Drawn(NamedTuple):
    """A figure before it is written.

    Attributes:
      name: of its files, without the suffix.
      canvas: matplotlib's figure.
      arrays: what is drawn; "run3/KEY" is of run 3 in the list.
      title: what it is called.
      caption: how to read it.
    """

    name: str
    canvas: Any
    arrays: dict[str, np.ndarray]
    title: str
    caption: str


def arrays_of(member: Member, figure: str) -> Mapping[str, np.ndarray] | None:
    """The arrays of an evaluation's figure of this very model; None where it drew none.

    Raises:
      UserError: if they are damaged.
    """
    run = member.run
    for name, record in run.pieces.items():
        if run.subject(name, record) != member.subject or "not_computed" in record:
            continue
        for drawn in record.get("figures", []):
            if drawn["name"] == figure:
                return _load((run.workdir / drawn["file"]).with_suffix(".npz"))
    return None


def _load(path: pathlib.Path) -> Mapping[str, np.ndarray] | None:
    if not path.exists():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zip, zlib and NumPy have one each for damage
        raise UserError(
            f"{path} cannot be read ({first_line(error)}): evaluate the run again with "
            f"--config.eval.force=True"
        ) from error


def shown(entries: Sequence[Entry]) -> list[Entry]:
    """The rows that figures are of: what is older than another row would only hide it."""
    return [entry for entry in entries if not entry.is_older]


def look(place: int) -> dict[str, Any]:
    """Colour and style of the row of that place."""
    lap, at = divmod(place, len(COLOURS))
    return {"color": COLOURS[at], "linestyle": STYLES[lap % len(STYLES)]}


def panels(names: Sequence[str]) -> tuple[Any, list[Axes]]:
    """A panel for each name, all of one size, with the names above."""
    columns = min(IN_A_ROW, len(names))
    rows = -(-len(names) // columns)
    inches = (max(PANEL[0] * columns, 4.0), PANEL[1] * rows)
    canvas, axes = curves.canvas(rows, columns, inches)
    for panel, name in zip(axes, names, strict=False):
        curves.heading(panel, textwrap.fill(name, NAME_WIDTH))
        panel.title.set_fontsize(7.5)
    for panel in axes[len(names) :]:
        panel.set_visible(False)
    return canvas, axes[: len(names)]


def edge_labels(axes: Sequence[Axes], x: str, y: str) -> None:
    """Words at the left of each row of panels, and below the last panel of each column."""
    for place, panel in enumerate(axes):
        if place % IN_A_ROW == 0:
            panel.set_ylabel(y)
        if place + IN_A_ROW >= len(axes):
            panel.set_xlabel(x)


def legend(canvas: Any, axis: Axes, title: str | None = None) -> None:
    """One legend for all panels, below them; its title may say what all axes count."""
    handles, labels = axis.get_legend_handles_labels()
    wrapped = [textwrap.fill(label, LABEL_WIDTH) for label in labels]
    if handles:
        looks: dict[str, Any] = {"ncols": 2, "fontsize": 7.5, "frameon": False, "title_fontsize": 8}
        canvas.legend(handles, wrapped, loc="outside lower center", title=title, **looks)


def runs_in(arrays: Mapping[str, np.ndarray]) -> str:
    """How many runs are drawn.

    Examples:
      >>> runs_in({"run1/x": np.zeros(1), "run1/y": np.zeros(1), "run2/x": np.zeros(1)})
      '2 runs'
    """
    count = len({name.split("/")[0] for name in arrays if name.startswith("run")})
    return "1 run" if count == 1 else f"{count} runs"
