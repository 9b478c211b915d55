"""The tables of robustness: every number in its place, with how many images it is of."""

from __future__ import annotations

import pathlib

from tests.report.made_up import Workdir

SIZE = {"images": 50, "official": 10_000}


def test_every_share_stands_under_its_size_with_its_n(tmp_path: pathlib.Path) -> None:
    """PGD in both norms, AutoAttack after each attack, and purified, each row with its n."""
    made = Workdir(tmp_path)
    levels = {f"eps_{n}/accuracy": 1 - n / 100 for n in (1, 2, 4, 8, 12, 16, 22, 30)}
    radii = {"radius_0.25/accuracy": 0.3, "radius_0.5/accuracy": 0.2, "radius_1.0/accuracy": 0.1}
    for norm, more in (("l_inf", {}), ("l_2", radii)):
        numbers = {"clean_accuracy": 1.0, **levels, **more}
        named = {f"robustness/{norm}/{key}": value for key, value in numbers.items()}
        made.piece(f"robustness/{norm}", named, size=SIZE, notes=["Sizes are of [0, 1]."])
    name = "robustness/autoattack/l_inf_8"
    left = {"clean_accuracy": 0.9, "after_apgd-ce": 0.5, "after_fab-t": 0.4, "after_square": 0.4}
    numbers = {f"{name}/{key}": value for key, value in {**left, "accuracy": 0.4}.items()}
    made.piece(name, numbers, size={"images": 1000, "official": None})
    behind = {"accuracy": 0.2, "full_gradient/accuracy": 0.25, "bpda/accuracy": 0.75}
    behind |= {"transfer/accuracy": 0.5, "clean_accuracy": 0.95}
    alone = {"static/accuracy": 0.3, "static/clean_accuracy": 0.85}
    for name, numbers in (("chain", behind), ("static", alone)):
        named = {f"robustness/purified/{key}": value for key, value in numbers.items()}
        made.piece(f"robustness/purified/{name}", named, size={"images": 20, "official": None})
    page = made.page()
    shares = ["99.0%", "98.0%", "96.0%", "92.0%", "88.0%", "84.0%", "78.0%", "70.0%"]
    assert [row[1:] for row in page.ours()] == [
        ["L∞", "50", "100.0%", *shares, "–", "–", "–"],
        ["L2", "50", "100.0%", *shares, "30.0%", "20.0%", "10.0%"],
        ["L∞, 8/255", "1,000", "90.0%", "50.0%", "–", "40.0%", "40.0%"],
        ["L∞, 8/255", "20", "95.0%", "20.0%", "25.0%", "75.0%", "50.0%", "85.0%", "30.0%"],
    ]
    assert "Sizes are of [0, 1]." in page.text and "16/255 on [-1, 1]" in page.text


def test_models_have_rows_of_their_own(tmp_path: pathlib.Path) -> None:
    """The best checkpoint's numbers stand in its row, those of the last in another."""
    made = Workdir(tmp_path)
    for prefix, share in (("", 0.25), ("best/", 0.5)):
        key = "robustness/autoattack/l_2_0.5"
        made.piece(key, {f"{key}/after_square": share}, prefix, size=SIZE)
    found = [(row[0], row[-1]) for row in made.page().ours()]
    assert [share for _, share in found] == ["25.0%", "50.0%"]
    assert "best on validation" in found[1][0] and "best" not in found[0][0]


def test_a_page_without_attacks_says_nothing_of_them(tmp_path: pathlib.Path) -> None:
    """No heading stands over nothing."""
    assert "Robustness" not in Workdir(tmp_path).training({"test/accuracy": 0.5}, 5).page().text
