"""Images as people keep them: a folder or an .npz, as one array."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from PIL import Image

from sadajem_jax.data.specs import DataError
from sadajem_jax.inference import image_files

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 3)).astype(np.uint8)


def save(folder: pathlib.Path) -> pathlib.Path:
    """The images as files of a folder, one below another."""
    (folder / "below").mkdir(parents=True)
    for name, image in zip(("a.png", "b.png", "below/c.PNG"), IMAGES, strict=True):
        Image.fromarray(image).save(folder / name, format="PNG")
    return folder


def test_a_folder_and_a_file_give_the_same_array(tmp_path: pathlib.Path) -> None:
    """Files come by name, whatever their folder; an .npz in its order; each file is told."""
    np.savez(tmp_path / "x.npz", images=IMAGES)
    told: list[tuple[int, int]] = []
    found, note = image_files.load(save(tmp_path / "x"), progress=lambda *at: told.append(at))
    np.testing.assert_array_equal(found, IMAGES)
    np.testing.assert_array_equal(image_files.load(tmp_path / "x.npz")[0], IMAGES)
    assert note == "3 images of the folder x" and told == [(1, 3), (2, 3), (3, 3)]


def test_images_of_two_sizes_are_no_array(tmp_path: pathlib.Path) -> None:
    """One line names two of the sizes, and what to do; brought to a shape they are one array."""
    folder = save(tmp_path / "x")
    Image.fromarray(IMAGES[0, :4]).save(folder / "d.png")
    with pytest.raises(DataError, match="found 2, among them 4x5 and 5x5; resize"):
        image_files.load(folder)
    found, note = image_files.load(folder, (5, 5, 1))
    assert found.shape == (4, 5, 5, 1) and "resized to 5x5, turned to grey" in note


def test_grey_files_are_not_said_to_be_turned_to_grey(tmp_path: pathlib.Path) -> None:
    """They are read to the bit, and the words tell nothing that was not done."""
    (tmp_path / "x").mkdir()
    Image.fromarray(IMAGES[0, :, :, 0]).save(tmp_path / "x" / "a.png")
    found, note = image_files.load(tmp_path / "x", (5, 5, 1))
    np.testing.assert_array_equal(found[0, :, :, 0], IMAGES[0, :, :, 0])
    assert note == "1 image of the folder x"


def test_a_few_broken_files_are_left_out_and_said(tmp_path: pathlib.Path) -> None:
    """One of a small folder, torn or no picture, is named in the words; the others are there."""
    folder = save(tmp_path / "x")
    whole = (folder / "a.png").read_bytes()
    for torn in (whole[:-30], b"no picture"):
        (folder / "below" / "torn.png").write_bytes(torn)
        for shape in (None, (5, 5, 3)):
            found, note = image_files.load(folder, shape)
            np.testing.assert_array_equal(found, IMAGES)
            assert note == "4 images of the folder x, less 1 that cannot be read (below/torn.png)"


def test_many_broken_files_are_refused(tmp_path: pathlib.Path) -> None:
    """Above one and above 1%: a line with their number, the first names and why."""
    folder = save(tmp_path / "x")
    for name in "pqrs":
        (folder / f"{name}.png").write_bytes(b"no picture")
    many = (
        r"4 of 7 image files cannot be read \(p.png, q.png, r.png, ...; the first: Uni.*1%, or one"
    )
    with pytest.raises(DataError, match=many):
        image_files.load(folder)
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "only.png").touch()
    with pytest.raises(DataError, match="1 of 1 image files cannot be read"):
        image_files.load(tmp_path / "y")


@pytest.mark.parametrize(
    ("name", "found"), [("none", "nothing of that name"), ("a.txt", "a file of another kind")]
)
def test_what_is_neither_is_refused(name: str, found: str, tmp_path: pathlib.Path) -> None:
    """One line says what was expected and found."""
    (tmp_path / "a.txt").touch()
    with pytest.raises(
        DataError, match=f"expected a folder of images or an .npz file, found {found}"
    ):
        image_files.load(tmp_path / name)
