"""No number is taken for one of another step, checkpoint or K than its own."""

from __future__ import annotations

import pathlib

import pytest

from tests.report.made_up import Workdir

OLD = "an older checkpoint than the newest evaluated"


def trained_on(path: pathlib.Path) -> Workdir:
    """All evaluated at step 0, the training gone on, and only the accuracy evaluated again."""
    made = Workdir(path).piece("accuracy", {"test/accuracy": 0.1}, step=0)
    made.piece("calibration", {"calibration/ece": 0.5}, step=0)
    made.piece("samples", {"samples/fid": 300.0}, step=0).ood("svhn_cropped", 0.4, step=0)
    return made.piece("accuracy", {"test/accuracy": 0.9}, step=3000)


def test_every_tile_says_its_step(tmp_path: pathlib.Path) -> None:
    """Of numbers of two steps each tile names its own, and the older ones are marked."""
    page = trained_on(tmp_path).page()
    said = {tile[0]: tile[2] for tile in page.tiles}
    older = "step 0, older"
    assert said == {"90.00%": "step 3,000", "50.00%": older, "300.00": older, "0.400": older}
    assert page.amber.count(older) == 3


def test_a_row_is_of_one_step(tmp_path: pathlib.Path) -> None:
    """The accuracy of step 3,000 and the FID of step 0 stand in two rows, the older one marked."""
    page = trained_on(tmp_path).page()
    new, old, *others = page.ours()
    assert new == ["Ours: WRN-28-10, K = 10, step 3,000", "90.00", "–", "–"]
    assert old == ["Ours: WRN-28-10, K = 10, step 0, older", "–", "–", "300.00"]
    assert others and all(row[0] == old[0] for row in others)
    assert old in page.older() and new not in page.older()
    assert ["SVHN", "log p(x)", "step 0, older", "0.400", "–", "–"] in page.older()


def test_older_pieces_are_marked_everywhere(tmp_path: pathlib.Path) -> None:
    """The table of times and the groups of numbers mark the three older pieces and no other."""
    page = trained_on(tmp_path).page()
    pieces = {row[0]: row[1] for row in page.rows if row[-1].startswith("2026")}
    assert pieces.pop("accuracy") == "last, step 3,000"
    assert set(pieces.values()) == {"last, step 0, older"} and len(pieces) == 3
    assert page.text.count(OLD) == 3


def test_a_trainings_own_number_makes_others_older(tmp_path: pathlib.Path) -> None:
    """A training's accuracy of step 300 says its step, and the ECE of step 200 is then older."""
    made = Workdir(tmp_path).piece("calibration", {"calibration/ece": 0.5})
    page = made.training({"test/accuracy": 0.9}, step=300).page()
    assert [tile[2] for tile in page.tiles] == ["step 300", "step 200, older"]


@pytest.mark.parametrize("steps", [{}, {"train/steps": 90}])
def test_a_number_without_provenance_is_of_the_trainings_end(
    tmp_path: pathlib.Path, steps: dict[str, float]
) -> None:
    """Older trainings wrote their steps beside their numbers; without them the step is unknown."""
    made = Workdir(tmp_path)
    made.metrics = {"test/accuracy": 0.9} | steps
    (tile,) = made.page().tiles
    assert tile[2] == ("step 90" if steps else "step unknown")


def test_another_model_is_not_older(tmp_path: pathlib.Path) -> None:
    """The best on validation, of an earlier step than the last, is its own newest."""
    made = Workdir(tmp_path).piece("accuracy", {"test/accuracy": 0.8}, step=100)
    page = made.piece("accuracy", {"test/accuracy": 0.9}, "best/", step=40).page()
    assert not page.older() and OLD not in page.text
    assert page.ours()[1][0] == "Ours: WRN-28-10, K = 10, best on validation, step 40"


def test_a_step_asked_for_by_number_has_rows_of_its_own(tmp_path: pathlib.Path) -> None:
    """Numbers of step_20/ and step_100/ stand in rows of that name, below the last model's."""
    made = Workdir(tmp_path)
    for prefix, step, value in (("step_100/", 100, 0.3), ("step_20/", 20, 0.2), ("", 200, 0.4)):
        made.piece("accuracy", {"test/accuracy": value}, prefix, step=step)
        made.piece("calibration", {"calibration/ece": value}, prefix, step=step)
        made.ood("svhn_cropped", value, prefix, step=step)
    page = made.page()
    which = ("step 200", "checkpoint of step 20", "checkpoint of step 100")
    names = [f"Ours: WRN-28-10, K = 10, {words}" for words in which]
    accuracies = [row[:2] for row in page.ours()[:3]]
    assert accuracies == [[n, v] for n, v in zip(names, ("40.00", "20.00", "30.00"), strict=True)]
    assert [row[0] for row in page.ours()].count(names[1]) == 4  # accuracy, two AUROCs, ECE
    assert ["SVHN", "log p(x)", "checkpoint of step 20", "0.200", "–", "–"] in page.rows
    assert [tile[0] for tile in page.tiles] == ["40.00%", "40.00%", "0.400"]


def test_k_is_the_evaluated_models(tmp_path: pathlib.Path) -> None:
    """K was doubled from the config's 10: the page's head and every row say 20."""
    made = Workdir(tmp_path).piece("accuracy", {"test/accuracy": 0.9}, num_sgld_steps=20)
    page = made.piece("calibration", {"calibration/ece": 0.1}, num_sgld_steps=20).page()
    assert len(page.ours()) == 2
    assert all(row[0] == "Ours: WRN-28-10, K = 20, step 200" for row in page.ours())
    assert '<p class="soft">WRN-28-10, K = 20; checkpoint of step 200' in page.text


def test_each_row_has_its_own_k(tmp_path: pathlib.Path) -> None:
    """A model evaluated before K was doubled keeps its K; the head says the newest's."""
    made = Workdir(tmp_path).piece("calibration", {"calibration/ece": 0.1}, step=50)
    made.pieces["calibration"]["num_sgld_steps"] = 10
    page = made.piece("accuracy", {"test/accuracy": 0.9}, num_sgld_steps=20).page()
    assert [row[0] for row in page.ours()] == [
        "Ours: WRN-28-10, K = 20, step 200",
        "Ours: WRN-28-10, K = 10, step 50, older",
    ]
    assert '<p class="soft">WRN-28-10, K = 20; checkpoint' in page.text


def test_a_trainings_number_takes_the_k_known_at_its_step(tmp_path: pathlib.Path) -> None:
    """Numbers of one step with and without a recorded K are one model's: they share a row."""
    made = Workdir(tmp_path).training({"test/accuracy": 0.9}, step=200)
    page = made.piece("samples", {"samples/fid": 12.0}, num_sgld_steps=20).page()
    assert page.ours() == [["Ours: WRN-28-10, K = 20, step 200", "90.00", "–", "12.00"]]
