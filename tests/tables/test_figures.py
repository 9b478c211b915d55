"""Figures of several models hold the arrays of each, and all panels have one scale."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from sadajem_jax.console.errors import UserError
from sadajem_jax.tables import pictures
from sadajem_jax.tables.figures import (
    histograms,
    landscape,
    learning_curves,
    reliability,
    robustness,
)
from tests.tables import planted
from tests.tables.planted import run

BINS = {"images": np.array([0, 2, 8]), "accuracy": np.array([np.nan, 0.5, 1.0]),
        "confidence": np.array([np.nan, 0.6, 0.9])}  # fmt: skip
STEPS = np.array([-1.0, 0.0, 1.0])


def two_runs(tmp_path: pathlib.Path, **overrides: Any) -> tuple[Any, Any]:
    """Two rows: K = 10 and K = 5."""
    first = run(tmp_path / "a", accuracy=0.9, **overrides)
    return first, run(tmp_path / "b", accuracy=0.8, sgld__num_steps=5, **overrides)


def drawn(draw: Any, *made: Any) -> Any:
    """The one figure of CIFAR-10."""
    (found,) = draw("cifar10", planted.rows_of(*made))
    return found


def test_histograms_have_one_scale(tmp_path: pathlib.Path) -> None:
    """Panels of values around 0 and around 100 share the axis, and each bar is a share of 1."""
    made = two_runs(tmp_path)
    for place, workdir in enumerate(made):
        values = 100.0 * place + np.linspace(0, 1, 50)
        arrays = {"log_density.inside": values, "log_density.outside": values + 5}
        planted.figure(workdir, "ood/x", "ood_x", **arrays)
    found = drawn(histograms.draw, *made)
    panels = [axis for axis in found.canvas.axes if axis.patches]
    assert len(panels) == 2 and len({axis.get_xlim() for axis in panels}) == 1
    low, high = panels[0].get_xlim()
    assert low < 1 and high > 104
    assert found.arrays["run2/x/log_density/outside"][0] == 105
    np.testing.assert_allclose(histograms._shares(np.array([-9.0, 9.0]), np.arange(3.0)), 0.5)


def test_histograms_say_what_is_which(tmp_path: pathlib.Path) -> None:
    """The figure alone has both colours in a legend, and says what its axes count."""
    made = run(tmp_path / "a", accuracy=0.9)
    arrays = {"log_density.inside": STEPS, "log_density.outside": STEPS + 5}
    planted.figure(made, "ood/x", "ood_x", **arrays)
    found = drawn(histograms.draw, made)
    (legend,) = found.canvas.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == [what for *_, what in histograms.LOOKS]
    assert legend.get_title().get_text().startswith("log p(x) + log Z, nats")
    shown = found.canvas.axes[0].patches
    colours = [patch.get_facecolor() for patch in legend.get_patches()]
    assert colours == [patch.get_facecolor() for patch in shown] and len(set(colours)) == 2


def test_landscapes_rise_from_zero_on_one_scale(tmp_path: pathlib.Path) -> None:
    """A flat and a steep model have panels of one height, both 0 at the parameters."""
    made = two_runs(tmp_path)
    for slope, workdir in zip((1.0, 50.0), made, strict=True):
        values = 7 + slope * np.array([[1.0, 0, 1], [2, 0, 2]])
        arrays = {"batch.steps": STEPS, "batch.energy": values, "batch.loss": values}
        planted.figure(workdir, "landscape", "landscape_lines", **arrays)
    found = {f.name: f for f in landscape.draw("cifar10", planted.rows_of(*made))}
    assert set(found) == {f"landscape_{q}_batch_cifar10" for q in ("energy", "loss")}
    flat, steep = found["landscape_energy_batch_cifar10"].canvas.axes
    assert flat.get_ylim() == steep.get_ylim() and flat.get_ylim()[1] >= 100
    assert [line.get_ydata()[1] for line in flat.lines + steep.lines] == [0] * 4
    assert max(line.get_ydata().max() for line in flat.lines) == 2


def test_robustness_is_a_mean_over_seeds_of_common_budgets(tmp_path: pathlib.Path) -> None:
    """Two seeds with budgets 0, 0.02, 0.04 and 0, 0.04 have one line at 0 and 0.04 x 255."""
    made = [run(tmp_path / str(s), s, accuracy=0.9) for s in range(2)]
    for workdir, eps, values in zip(
        made, ([0, 0.02, 0.04], [0.04, 0]), ([0.9, 0.5, 0.2], [0.4, 0.8]), strict=True
    ):
        arrays = {"eps": np.array(eps), "accuracy": np.array(values)}
        planted.figure(workdir, "robustness", "robustness_l_2", **arrays)
    found = drawn(robustness.draw, *made)
    ((line,),) = [axis.lines for axis in found.canvas.axes if axis.lines]
    np.testing.assert_allclose(line.get_xdata(), [0, 10.2])
    np.testing.assert_allclose(line.get_ydata(), [0.85, 0.3])


def test_larger_balls_have_a_panel_of_their_own(tmp_path: pathlib.Path) -> None:
    """With radius 1 in L_2 there are two panels, to 30/255 and to 1, each row of one colour."""
    made = two_runs(tmp_path)
    for workdir in made:
        arrays = {"eps": np.array([0.0, 0.1, 1.0]), "accuracy": np.array([0.9, 0.5, 0.1])}
        planted.figure(workdir, "robustness", "robustness_l_2", **arrays)
    axes = [axis for axis in drawn(robustness.draw, *made).canvas.axes if axis.lines]
    assert [axis.get_xlim() for axis in axes] == [(0, 30), (0, 255)]
    colours = [[line.get_color() for line in axis.lines] for axis in axes]
    assert colours[0] == colours[1] and len(set(colours[0])) == 2


def test_learning_curves_are_in_epochs_and_a_colour_a_row(tmp_path: pathlib.Path) -> None:
    """Seeds of a row share its colour, other rows have others; steps become epochs."""
    made = [run(tmp_path / str(s), s, accuracy=0.9) for s in range(2)]
    made.append(run(tmp_path / "b", accuracy=0.9, sgld__num_steps=5))
    for workdir in made:
        lines = [{"step": n, "epoch": n / 10, "accuracy": 0.1 * n} for n in (5, 10)]
        planted.log(workdir, *lines)
    found = drawn(learning_curves.draw, *made)
    colours = [line.get_color() for line in found.canvas.axes[0].lines]
    assert colours[0] == colours[1] != colours[2]
    np.testing.assert_allclose(found.arrays["run3/accuracy/epoch"], [0.5, 1.0])


def test_reliability_has_a_panel_a_row_from_0_to_1(tmp_path: pathlib.Path) -> None:
    """Empty bins are no point, and every panel has the same axes."""
    made = two_runs(tmp_path)
    for workdir in made:
        planted.figure(workdir, "calibration", "reliability", **BINS)
    axes = drawn(reliability.draw, *made).canvas.axes
    assert len(axes) == 2 and {axis.get_xlim() + axis.get_ylim() for axis in axes} == {(0, 1, 0, 1)}
    np.testing.assert_array_equal(axes[0].lines[1].get_xdata(), [0.6, 0.9])


def test_figures_of_an_older_checkpoint_are_not_drawn(tmp_path: pathlib.Path) -> None:
    """A diagram of step 100 is none of the model of step 200."""
    made = run(tmp_path / "a", accuracy=0.9)
    planted.figure(made, "calibration", "reliability", **BINS)
    made.pieces["calibration"]["step"] = 100
    assert pictures.write(planted.rows_of(made.save()), tmp_path / "out") == []


def test_all_figures_are_written_with_their_arrays(tmp_path: pathlib.Path) -> None:
    """Each is a PNG, a PDF and an archive of what it shows, drawn from each run that has it."""
    made, other = two_runs(tmp_path)
    planted.figure(made, "calibration", "reliability", **BINS)
    planted.log(other, {"step": 1, "epoch": 0.5, "accuracy": 0.5})
    written = pictures.write(planted.rows_of(made, other), tmp_path / "out")
    names = [path.stem for path, _, _ in written]
    assert names == ["learning_curves_cifar10", "reliability_cifar10"]
    for path, _, _ in written:
        assert path.read_bytes()[:4] == b"\x89PNG"
        assert path.with_suffix(".pdf").read_bytes()[:4] == b"%PDF"
    with np.load(tmp_path / "out" / "reliability_cifar10.npz") as arrays:
        np.testing.assert_array_equal(arrays["run1/accuracy"], BINS["accuracy"])


def test_damaged_arrays_are_named(tmp_path: pathlib.Path) -> None:
    """An archive that cannot be read stops the figures with its path, in one line."""
    made = run(tmp_path / "a", accuracy=0.9)
    planted.figure(made, "calibration", "reliability", **BINS)
    file = made.path / "figures" / "reliability.npz"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(UserError, match=r"reliability\.npz cannot be read"):
        pictures.write(planted.rows_of(made), tmp_path / "out")
