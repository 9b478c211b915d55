"""Detection and calibration say what was measured, on which images, from recorded fields."""

from __future__ import annotations

import pathlib

import pytest

from tests.report.made_up import RECORD, Workdir

SVHN = {"images": 10_000, "official": 26_032}
NO_OPTIMUM = "No temperature: all images are classified rightly."


def test_a_part_of_a_set_is_named_beside_its_numbers(tmp_path: pathlib.Path) -> None:
    """SVHN's columns and rows say how many of its images there were; a whole set's say nothing."""
    whole = {"images": 10_000, "official": 10_000}
    made = Workdir(tmp_path).ood("svhn_cropped", 0.9, size=SVHN).ood("cifar100", 0.8, size=whole)
    cells = [cell for row in made.page().rows for cell in row]
    assert {c for c in cells if "SVHN" in c} == {"SVHN (10,000 of 26,032)"}
    assert {c for c in cells if "CIFAR-100" in c} == {"CIFAR-100"}


def test_a_size_is_read_from_no_sentence(tmp_path: pathlib.Path) -> None:
    """Where record and note differ the record counts, and an unknown official size is unsaid."""
    note = "svhn_cropped: 7 of the 26,032 official test images of svhn_cropped."
    made = Workdir(tmp_path).ood("svhn_cropped", 0.9, size=SVHN, notes=[note])
    page = made.ood("faces", 0.8, size={"images": 12, "official": None}).page()
    names = {row[0] for row in page.rows if row[1:2] == ["log p(x)"]}
    assert names == {"SVHN (10,000 of 26,032)", "faces"}


def test_a_part_of_the_test_set_is_named(tmp_path: pathlib.Path) -> None:
    """Tile, rows and caption of numbers of 500 test images say so."""
    size = {"images": 500, "official": 10_000}
    made = Workdir(tmp_path).piece("accuracy", {"test/accuracy": 0.9}, size=size)
    figure = made.figure("A diagram.")
    page = made.piece("calibration", {"calibration/ece": 0.1}, size=size, figures=[figure]).page()
    assert [tile[2] for tile in page.tiles] == ["step 200; 500 of 10,000 images"] * 2
    assert len(page.ours()) == 2
    assert all(row[0].endswith("step 200, 500 of 10,000 test images") for row in page.ours())
    assert (
        "A diagram. 500 of 10,000 official test images of CIFAR-10. (last, step 200)" in page.text
    )


def test_sets_stand_in_the_order_asked_for(tmp_path: pathlib.Path) -> None:
    """The recorded place counts, not that of the file or config; the first set has a tile."""
    made = Workdir(tmp_path)
    for order, label in ((2, "cifar100"), (0, "uniform_noise"), (1, "svhn_cropped")):
        made.ood(label, 0.5 + order / 10, order=order)
    page = made.page()
    found = [row[0] for row in page.rows if row[1:2] == ["log p(x)"]]
    assert found == ["uniform noise", "SVHN", "CIFAR-100"]
    assert [tile[:2] for tile in page.tiles] == [["0.500", "AUROC of log p(x), uniform noise"]]


def test_every_model_with_numbers_has_rows(tmp_path: pathlib.Path) -> None:
    """With only the best checkpoint evaluated its numbers, size and notes stand in both tables."""
    made = Workdir(tmp_path).ood("svhn_cropped", 0.9, "best/", step=42, size=SVHN, notes=["Cut."])
    page = made.page()
    assert page.ours()[0][:2] == ["Ours: WRN-28-10, K = 10, best on validation, step 42", "0.900"]
    which = "best on validation, step 42"
    measured = [row for row in page.rows if which in row]
    assert measured == [["SVHN (10,000 of 26,032)", "log p(x)", which, "0.900", "–", "–"]]
    assert "SVHN (10,000 of 26,032)" in page.rows[page.rows.index(page.ours()[0]) - 1]
    assert "<li>Cut.</li>" in page.text


def test_the_accuracy_under_noise_stands_beside_the_clean_one(tmp_path: pathlib.Path) -> None:
    """A tile has it and the row beside the paper's says it, with the noise as recorded."""
    made = Workdir(tmp_path).piece("accuracy", {"test/accuracy": 0.93})
    settings = RECORD["settings"] | {"noise_std": 0.05}
    made.piece("accuracy/noisy", {"test/accuracy_noisy": 0.925}, settings=settings)
    page = made.page()
    assert ["92.50%", "test accuracy under noise of 0.05"] in [tile[:2] for tile in page.tiles]
    (row,) = page.ours()
    assert row[:2] == ["Ours: WRN-28-10, K = 10, step 200, 92.50% under noise of 0.05", "93.00"]
    assert "JEM's accuracy is under noise" in page.text.replace("&#x27;", "'")


def test_what_is_good_is_said_of_each_measure(tmp_path: pathlib.Path) -> None:
    """A low FPR is good; only AUROC's chance is one half."""
    page = Workdir(tmp_path).ood("svhn_cropped", 0.9).page()
    assert ["AUROC ↑", "AUPR ↑", "FPR at 95% TPR ↓"] in [row[3:] for row in page.rows]
    assert "AUROC: higher is better, 0.5 is chance." in page.text
    assert "AUPR: higher is better, chance is the test set&#x27;s share" in page.text
    assert "FPR at 95% TPR: lower is better, 0.95 is chance." in page.text
    assert page.text.count("0.5 is chance") == 1


@pytest.mark.parametrize("bins", [15, 20])
def test_the_tile_says_the_bins_that_were_used(tmp_path: pathlib.Path, bins: int) -> None:
    """The number of bins is that of the settings."""
    made = Workdir(tmp_path)
    made.piece("calibration", {"calibration/ece": 0.1}, settings={"num_bins": bins})
    (tile,) = made.page().tiles
    assert tile[:2] == ["10.00%", f"ECE, {bins} bins"]


def test_bins_that_nobody_recorded_are_not_made_up(tmp_path: pathlib.Path) -> None:
    """Without the setting the tile names no number."""
    (tile,) = Workdir(tmp_path).piece("calibration", {"calibration/ece": 0.1}).page().tiles
    assert tile[1] == "ECE"


@pytest.mark.parametrize("prefix", ["", "best/"])
def test_a_temperature_without_optimum_is_said_to_have_none(
    tmp_path: pathlib.Path, prefix: str
) -> None:
    """Of any model the other numbers stand, the cell says so, and the note says why."""
    numbers = {"ece": 0.1, "ece_by_chance": 0.05, "ece_unscaled": 0.1, "nll_unscaled": 0.25}
    found = {f"calibration/{name}": value for name, value in numbers.items()}
    page = Workdir(tmp_path).piece("calibration", found, prefix, notes=[NO_OPTIMUM]).page()
    before = ["none is best", "10.00%", "–", "0.250", "–"]
    assert page.ours()[0][1:] == ["10.00%", "5.00%", *before]
    assert f"the temperature. {NO_OPTIMUM}</p>" in page.text


def test_nll_stands_beside_ece_before_and_after_the_temperature(tmp_path: pathlib.Path) -> None:
    """Both, each by its name."""
    numbers = {"ece": 0.1, "temperature": 1.5, "ece_unscaled": 0.11, "ece_scaled": 0.02}
    numbers |= {"nll_unscaled": 0.3, "nll_scaled": 0.2}
    found = {f"calibration/{name}": value for name, value in numbers.items()}
    page = Workdir(tmp_path).piece("calibration", found).page()
    (head,) = [row for row in page.rows if "temperature" in row]
    shown = dict(zip(head, page.ours()[0], strict=True))
    assert (shown["temperature"], shown["ECE before"], shown["ECE after"]) == (
        *("1.500", "11.00%", "2.00%"),
    )
    assert (shown["nll before"], shown["nll after"]) == ("0.300", "0.200")


def test_sharpness_is_a_row_a_quantity_and_batch_norm(tmp_path: pathlib.Path) -> None:
    """Energy and loss stand apart, with what was computed and dashes for the rest."""
    numbers = {"eigenvalue_1": 12.5, "trace": 340.0, "trace_stderr": 4.0, "sam_rise": 0.25}
    names = {f"landscape/batch/loss/{name}": value for name, value in numbers.items()}
    made = Workdir(tmp_path).piece("landscape/sharpness", names, notes=["Of few images."])
    made.piece("landscape/lines", {"landscape/evaluation/energy/mean": -3.0})
    page = made.page()
    assert [row[1:] for row in page.ours()] == [
        ["energy", "running statistics", "-3", "–", "–", "–", "–", "–", "–"],
        ["loss", "the batch's", "–", "–", "12.5", "–", "–", "340 ± 4", "0.25"],
    ]
    assert "Of few images." in page.text
