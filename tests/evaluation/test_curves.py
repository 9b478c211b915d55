"""Learning curves: what is drawn is what the log says."""

from __future__ import annotations

import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation import curves
from sadajem_jax.workdir import files
from sadajem_jax.workdir.figure import COLUMNS

ROWS = [
    {"step": 10 * i, "epoch": i / 2, "accuracy": i / 10, "grad_norm": 1.0 / i} for i in range(1, 8)
]


def write(path: pathlib.Path, text: str) -> pathlib.Path:
    """A log of this text."""
    path.write_text(text)
    return path


def test_arrays_are_the_logs_values() -> None:
    """Each curve's points are the log's rows, the validation's placed by their steps in epochs."""
    (figure,) = curves.learning_curves(ROWS, [{"step": 20, "val/accuracy": 0.3}])
    a = figure.arrays
    np.testing.assert_array_equal(a["accuracy"], [r["accuracy"] for r in ROWS])
    np.testing.assert_allclose(a["accuracy/epoch"], [r["epoch"] for r in ROWS])
    assert a["val/accuracy"].tolist() == [0.3] and a["val/accuracy/epoch"].tolist() == [1.0]
    assert "cross_entropy" not in a and figure.data.startswith(b"\x89PNG")


def test_the_same_log_gives_the_same_bytes() -> None:
    """A figure carries no date: it changes only with what it shows."""
    first, second = (next(curves.learning_curves(ROWS, [])).data for _ in range(2))
    assert first == second


def test_no_line_yet_is_a_reason() -> None:
    """An empty log cannot be drawn, and says so."""
    with pytest.raises(UserError, match="no line yet"):
        list(curves.learning_curves([], []))


def test_a_torn_last_line_is_left_out(tmp_path: pathlib.Path) -> None:
    """A log that is being written is read up to its last whole line; no file is no row."""
    path = write(tmp_path / "log", "\n".join([*map(json.dumps, ROWS), '{"step": 80, "ep']))
    assert files.read_json_lines(path) == ROWS
    assert files.read_json_lines(tmp_path / "none") == []


def test_a_torn_line_in_the_middle_is_an_error(tmp_path: pathlib.Path) -> None:
    """What no kill explains is named with its line."""
    path = write(tmp_path / "log", '{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(UserError, match="line 2"):
        files.read_json_lines(path)


@pytest.mark.parametrize(("width", "bar", "count"), [(9, False, 2), (9, True, 2), (4, False, 0)])
def test_plots_are_cut_between_their_columns(width: float, bar: bool, count: int) -> None:
    """Cuts fall on white between panels, none before a colour bar, none into narrow columns."""
    figure, panels = curves.canvas(1, 3, (width, 3.0))
    for panel in panels:
        drawn = panel.imshow(np.eye(2))
        if bar:
            figure.colorbar(drawn, ax=panel)
    picture = Image.open(io.BytesIO(curves.png(figure)))
    cuts = [float(at) for at in picture.info[COLUMNS].split()]
    assert len(cuts) == count
    pixels = np.asarray(picture.convert("L"))
    for place, at in enumerate(cuts, start=1):
        assert (pixels[:, round(at * picture.width)] == 255).all()
        assert abs(at - place / 3) < 0.05
