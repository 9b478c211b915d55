"""Sample quality in the report: whose images, seen by whom, by which protocol, and how many."""

from __future__ import annotations

import pathlib

from tests.report.made_up import Workdir

PLAIN = {"images": 10_000.0, "reference_images": 50_000.0, "inception_score": 8.1, "fid": 20.5}
PLAIN |= {"fid_infinity": 19.0, "kid": 0.0123, "precision": 0.6, "recall": 0.5}
PLAIN |= {"density": 0.9, "coverage": 0.8}
RELEASED = {"inception_score": 8.77, "inception_score_images": 996.0, "fid": 9.41}
RELEASED |= {"fid_images": 8995.0}
SETTINGS = {"network": "inception", "images": "buffer", "against": "training images"}


def judged(path: pathlib.Path) -> Workdir:
    """The buffer before Inception by both protocols, and new images before a classifier."""
    made = Workdir(path).piece("accuracy", {"test/accuracy": 0.9})
    plain = {f"samples/{name}": value for name, value in PLAIN.items()}
    made.piece("quality/inception", plain, settings=SETTINGS, notes=["A note."])
    released = {f"samples/released/{name}": value for name, value in RELEASED.items()}
    against = SETTINGS | {"images": "buffer, most confident", "against": "training and test images"}
    made.piece("quality/inception/released", released, settings=against)
    other = {"samples/a/by_W2/images": 500.0, "samples/a/by_W2/frechet": 1.25}
    settings = {"network": "W2", "images": "x/a.npz", "against": "y/b.npz"}
    return made.piece("quality/W2/a/against_b", other, settings=settings)


def test_a_row_for_each_set_and_network(tmp_path: pathlib.Path) -> None:
    """Each has its n and its measures; what is missing is a dash; notes stand below."""
    page = judged(tmp_path).page()
    head = next(i for i, row in enumerate(page.rows) if row[1:2] == ["seen by"])
    shares = ["0.600", "0.500", "0.900", "0.800"]
    dashes = ["–"] * 4
    plain, released, other = page.rows[head + 1 : head + 4]
    step = "step 200"
    assert plain[:4] == ["buffer", "Inception", step, "10,000"]
    assert plain[4:] == ["8.10", "20.5", "19", "12.3", *shares]
    assert released[:4] == ["buffer, most confident", "Inception", step, "996 and 8,995"]
    assert released[4:] == ["8.77", "9.41", "–", "–", *dashes]
    assert other[:4] == ["a.npz against b.npz", "W2", step, "500"]
    assert other[4:] == ["–", "1.25", "–", "–", *dashes]
    assert "<li>A note.</li>" in page.text


def test_both_protocols_stand_beside_the_paper(tmp_path: pathlib.Path) -> None:
    """The released one first, as the paper's, then all images, each with how many there were."""
    ours = judged(tmp_path).page().ours()
    name = "Ours: WRN-28-10, K = 10, step 200"
    assert ours[:2] == [
        [f"{name}, released protocol, 996 and 8,995 images", "90.00", "8.77", "9.41"],
        [f"{name}, all 10,000 images", "90.00", "8.10", "20.50"],
    ]


def test_tiles_say_their_protocol(tmp_path: pathlib.Path) -> None:
    """A tile's number is the released protocol's, and it says so and of how many images."""
    tiles = {tile[1]: tile for tile in judged(tmp_path).page().tiles}
    said = "step 200; released protocol, 8,995 images"
    assert tiles["FID"] == ["9.41", "FID", said]
    assert tiles["Inception Score"][2] == "step 200; released protocol, 996 images"


def test_what_could_not_be_judged_has_no_row(tmp_path: pathlib.Path) -> None:
    """Without numbers there is no table, and the reason stands with the others."""
    made = Workdir(tmp_path)
    made.pieces["quality/inception"] = {"part": "quality", "not_computed": "no weights"}
    page = made.page()
    assert "Sample quality" not in page.text
    assert "<b>quality/inception</b>: not computed, because no weights" in page.text
