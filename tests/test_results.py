"""What README and RESULTS say of the demo is what one run of it gave: docs/digits.json."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest

from sadajem_jax.cli import config
from sadajem_jax.console.errors import UserError
from sadajem_jax.workdir import settings
from tests import places
from tools import results

FOUND = json.loads((results.DOCS / results.NUMBERS).read_text())
NUMBERS = FOUND["numbers"]


def said(name: str) -> str:
    """A document as one line."""
    return " ".join((places.ROOT / name).read_text().split())


def test_the_demo_shown_is_the_demo_that_ships() -> None:
    """The settings behind the numbers are those of configs/digits.py."""
    ships = settings.flat(config.load("configs/digits.py").to_dict())
    assert FOUND["settings"] == settings.identity(ships)


def test_the_pictures_are_of_the_run_behind_the_numbers() -> None:
    """Each picture that README shows of the demo is the file that was made with the numbers."""
    for name, checksum in FOUND["pictures"].items():
        assert results.checksum(results.DOCS / name) == checksum, name
        assert f"docs/{name}" in said("README.md")
    assert results.SAMPLES in FOUND["pictures"]


def test_the_figures_are_those_of_the_run() -> None:
    """Accuracy, nll, ECE, AUROCs and robust accuracies, as README and RESULTS round them."""
    auroc = {s: NUMBERS[f"ood/{s}/log_density/auroc"] for s in ("photographs", "inverted_digits")}
    noise = [NUMBERS[f"ood/{s}_noise/log_density/auroc"] for s in ("uniform", "gaussian")]
    ece, chance = NUMBERS["calibration/ece"], NUMBERS["calibration/ece_by_chance"]
    assert f"reaches {NUMBERS['test/accuracy']:.1%} on the 297 held-out" in said("README.md")
    for sentence in (
        f"Test accuracy **{NUMBERS['test/accuracy']:.2%}**, nll {NUMBERS['test/nll']:.3f} nats",
        f"| ECE, 20 bins (by chance: {chance:.3f}) | {ece:.3f} |",
        f"| AUROC of log p(x): photographs' crops | {auroc['photographs']:.3f} |",
        f"| AUROC of log p(x): inverted digits | {auroc['inverted_digits']:.3f} |",
        f"uniform noise / Gaussian noise | {noise[0]:.3f} / {noise[1]:.3f} |",
        f"| PGD, 8 images: L_inf 8/255; L_2 0.5 | {_standing('l_inf/eps_8', 'l_2/radius_0.5')}",
        f"L_2 0.5 | {_standing('autoattack/l_inf_8', 'autoattack/l_2_0.5')}",
    ):
        assert sentence in said("RESULTS.md"), sentence


def _standing(*names: str) -> str:
    counts = (round(8 * NUMBERS[f"robustness/{name}/accuracy"]) for name in names)
    return "; ".join(f"{count} of 8" for count in counts) + " stand"


def test_a_folder_that_is_no_demo_is_refused(tmp_path: pathlib.Path) -> None:
    """One line says what was expected, and nothing is written."""
    with pytest.raises(UserError, match="expected the folder of the demo"):
        results.collect(tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_page_is_not_drawn_without_a_browser(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the picture stays as it was, and the list of what is held lacks it."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not results.draw(tmp_path / "index.html", tmp_path / "page.png")
    assert not (tmp_path / "page.png").exists()
