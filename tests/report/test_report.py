"""The report page: it needs nothing else, says where each number is from, and hides no gap."""

from __future__ import annotations

import base64
import io
import pathlib
import re
import tomllib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import sadajem_jax
from sadajem_jax.console.errors import UserError
from sadajem_jax.report import html, page, paper_numbers
from sadajem_jax.workdir.figure import COLUMNS
from tests import places
from tests.report.made_up import PARTS, RECORD, Page, Workdir, png

pytestmark = pytest.mark.versions

PART = {"images": 10_000, "official": 26_032}


def cifar10(path: pathlib.Path) -> Workdir:
    """An accuracy with a picture, one set of two, and what the training wrote."""
    made = Workdir(path)
    made.piece("accuracy", {"test/accuracy": 0.9601}, figures=[made.figure("A <b> & c")])
    made.ood("svhn_cropped", 0.9512, size=PART)
    made.pieces["ood/celeb_a"] = RECORD | {"not_computed": "celeb_a: <none> & nowhere"}
    made.metrics["train/steps"] = 200
    return made


def test_the_page_is_whole_and_names_nothing_outside(tmp_path: pathlib.Path) -> None:
    """All tags close, every address is data or a place inside the page, and there is no script."""
    page = cifar10(tmp_path).page()
    assert not page.open
    inside = {f"#{id}" for id in re.findall(' id="(.*?)"', page.text)}
    assert all(a.startswith("data:") or a in inside for a in page.addresses)
    assert any(a.startswith("data:image") for a in page.addresses)
    assert "<script" not in page.text and "url(" not in page.text and "@import" not in page.text


def test_the_style_travels_with_the_package(tmp_path: pathlib.Path) -> None:
    """The page holds the style, and a wheel takes along the file that it is read from."""
    style = pathlib.Path(sadajem_jax.__file__).parent / "report" / "style.css"
    assert style.read_text() in cifar10(tmp_path).page().text
    project = tomllib.loads((places.ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["sadajem_jax.report"]
    assert any(style in style.parent.glob(pattern) for pattern in patterns)


def test_pictures_are_the_files(tmp_path: pathlib.Path) -> None:
    """The bytes inside the page are those of the figure, its caption is text and no markup."""
    page = cifar10(tmp_path).page()
    (picture,) = [a for a in page.addresses if a.startswith("data:image")]
    assert base64.b64decode(picture.split(",")[1]) == png()
    assert "A &lt;b&gt; &amp; c" in page.text and "A <b>" not in page.text


def test_ours_stand_beside_every_row_of_the_paper(tmp_path: pathlib.Path) -> None:
    """Accuracy in percent and AUROC stand in rows of ours, in tables of all the paper's rows."""
    page = cifar10(tmp_path).page()
    ours = [row[1:] for row in page.ours() if row[0] == "Ours: WRN-28-10, K = 10, step 200"]
    assert ours[0] == ["96.01", "–", "–"] and ours[1] == ["0.951", "–", "–", "–"]
    systems = {row[0] for row in page.rows}
    assert all(row.system in systems for row in paper_numbers.GENERATION["cifar10"])
    assert ["JEM, K = 20", "92.9", "8.76", "38.4"] in page.rows
    assert ["IGEBM", "0.63", "0.70", "0.50", "0.70"] in page.rows


@pytest.mark.parametrize(
    ("system", "px_weight", "title", "name"),
    [
        ("sadajem", 1.0, "SADA-JEM on CIFAR-10", "WRN-28-10, K = 10"),
        ("jempp", 1.0, "JEM++ on CIFAR-10", "JEM++, WRN-28-10, K = 10"),
        ("softmax", 0.0, "Softmax on CIFAR-10", "Softmax, WRN-28-10"),
        ("mine", 1.0, "mine on CIFAR-10", "mine, WRN-28-10, K = 10"),
    ],
)
def test_a_page_says_which_system_it_is_of(
    tmp_path: pathlib.Path, system: str, px_weight: float, title: str, name: str
) -> None:
    """Title, head and rows have the system's name, and a classifier without chains has no K."""
    made = cifar10(tmp_path)
    made.config["system"], made.config["objective"]["px_weight"] = system, px_weight
    page = made.page()
    assert f"<title>{title}</title>" in page.text and f"<h1>{title}</h1>" in page.text
    assert f'<p class="soft">{name}; checkpoint of step 200' in page.text
    assert {row[0] for row in page.ours()} == {f"Ours: {name}, step 200"}


@pytest.mark.parametrize(
    ("field", "value"), [("objective", {"px_weight": 0.0}), ("sgld", {"num_steps": 0}), ("", {})]
)
def test_the_buffer_of_a_run_without_chains_has_no_score(
    tmp_path: pathlib.Path, field: str, value: dict[str, float]
) -> None:
    """IS and FID are neither a tile nor beside the paper's, of any model, and it says why.

    Of a run with chains they are both; else they stand at the end, with what no table shows.
    """
    made = cifar10(tmp_path)
    for prefix in ("", "best/"):
        made.piece("samples", {"samples/fid": 12.25, "samples/inception_score": 2.5}, prefix)
    if field:
        made.config[field] |= value
    page = made.page()
    beside = [number for row in page.ours() for number in row[1:]]
    shown = [tile[0] for tile in page.tiles] + beside
    assert ("12.25" in shown, "2.50" in shown, "96.01" in beside) == (not field, not field, True)
    assert page.text.count("the training ran no chains") == (2 if field else 0)
    assert (["samples/fid", "12.25"] in page.rows) == bool(field)


def test_what_was_not_computed_is_said(tmp_path: pathlib.Path) -> None:
    """A reason is shown as text, and parts that were never asked for are named as such."""
    text = cifar10(tmp_path).page().text
    assert "not computed, because celeb_a: &lt;none&gt; &amp; nowhere" in text
    never = "<b>calibration</b>, <b>samples</b>, <b>curves</b>: not computed, because it was not"
    assert never in text


def test_one_reason_stands_once_and_takes_no_time(tmp_path: pathlib.Path) -> None:
    """Pieces that fail for one reason are one item, and none has a row of hardware and times."""
    made = cifar10(tmp_path)
    for name in ("quality/inception", "quality/inception/released"):
        made.pieces[name] = RECORD | {"not_computed": "no weights"}
    page = made.page()
    both = "<b>quality/inception</b>, <b>quality/inception/released</b>: not computed, because no"
    assert both in page.text and page.text.count("no weights") == 1
    timed = [row[0] for row in page.rows if row[-1] == RECORD["finished"]]
    assert timed == ["accuracy", "ood/svhn_cropped"]


def test_the_list_of_parts_is_the_records(tmp_path: pathlib.Path) -> None:
    """Only parts of the recorded list are missed, and one done for any model is not."""
    made = Workdir(tmp_path).piece("accuracy", {"test/accuracy": 0.9}, "best/")
    made.pieces["parts"] = ["accuracy", "sharpness"]
    page = made.page()
    missed = [p for p in [*PARTS, "sharpness"] if f"<b>{p}</b>: not computed" in page.text]
    assert missed == ["sharpness"]


def test_every_number_stands_once_with_what_is_behind_it(tmp_path: pathlib.Path) -> None:
    """What no table shows stands at the end by its name, under checkpoint, step and settings."""
    made = cifar10(tmp_path).piece("samples", {"samples/buffer_confidence": 0.75})
    page = made.page()
    last = {row[0]: row[1:] for row in page.rows if row[0] in made.metrics}
    assert last == {"train/steps": ["200"], "samples/buffer_confidence": ["0.75"]}
    assert page.text.count("last, step 200; data cifar10, split test") == 3
    assert "written by the training at its end" in page.text


def test_pictures_come_first_each_in_its_section(tmp_path: pathlib.Path) -> None:
    """Samples stand before tables, the film first; other parts' pictures beside their numbers."""
    made = Workdir(tmp_path).ood("svhn_cropped", 0.9, figures=[made_figure(tmp_path, "ood_x")])
    drawn = [made_figure(tmp_path, f"samples_{name}") for name in ("buffer", "film")]
    made.piece("samples", {"samples/buffer_confidence": 0.75}, figures=drawn)
    made.piece("curves", {}, figures=[made_figure(tmp_path, "learning_curves")])
    text = made.page().text
    places = ["Samples</h2>", "samples_film", "samples_buffer", "<table", "Detecting", "ood_x"]
    places += ["Learning curves</h2>", "learning_curves"]
    body = text[text.index("</nav>") :]
    found = [body.index(place) for place in places]
    assert found == sorted(found)
    headings = re.findall('<h2 id="(.*?)">', text)
    assert re.findall('<a href="#(.*?)">', text) == headings and len(set(headings)) > 4


def test_a_picture_of_columns_comes_apart(tmp_path: pathlib.Path) -> None:
    """Cut where its file says, so that a narrow page can stack it; side by side it is whole."""
    picture = np.random.default_rng(0).integers(0, 256, (4, 10, 3), np.uint8)
    said = PngInfo()
    said.add_text(COLUMNS, "0.3 0.7")
    Image.fromarray(picture).save(tmp_path / "x.png", pnginfo=said)
    shown = Page(html.figure(tmp_path / "x.png", "title", "caption")).addresses
    parts = [Image.open(io.BytesIO(base64.b64decode(a.split(",")[1]))) for a in shown]
    assert [part.width for part in parts] == [3, 4, 3]
    np.testing.assert_array_equal(np.concatenate([np.asarray(p) for p in parts], axis=1), picture)


def made_figure(path: pathlib.Path, name: str) -> dict[str, str]:
    """A picture on the disk, as a record names it."""
    figures = path / "figures"
    figures.mkdir(exist_ok=True)
    (figures / f"{name}.png").write_bytes(png())
    return {"name": name, "file": f"figures/{name}.png", "caption": name}


@pytest.mark.parametrize("name", ["cifar100", "digits"])
def test_a_run_that_was_never_evaluated_has_a_page(tmp_path: pathlib.Path, name: str) -> None:
    """With nothing but a config the page says that nothing was computed."""
    page = Workdir(tmp_path, name).page()
    assert not page.open and "nothing evaluated yet" in page.text
    assert ("BigGAN" in page.text) == (name == "cifar100")


def test_files_that_are_missing_are_empty(tmp_path: pathlib.Path) -> None:
    """An empty folder has a page, too."""
    assert "nothing evaluated yet" in Page(page.write(tmp_path).read_text()).text


def test_what_older_versions_did_not_record_is_left_unsaid(tmp_path: pathlib.Path) -> None:
    """Numbers of records without these fields stand where they stood, sizes are not made up."""
    made = Workdir(tmp_path).piece("accuracy", {"test/accuracy": 0.9})
    made.ood("svhn_cropped", 0.9512, size=PART).ood("svhn_cropped", 0.75, "best/", size=PART)
    page = made.without("size", "label", "order", "prefix", "part", "parts").page()
    assert [row[1] for row in page.ours()][:3] == ["90.00", "0.951", "0.750"]
    assert "SVHN" in page.text and "26,032" not in page.text and "not asked for" not in page.text


@pytest.mark.parametrize("name", ["config", "metrics", "metrics_provenance", "evaluation"])
def test_a_damaged_file_is_refused_and_the_page_stays(tmp_path: pathlib.Path, name: str) -> None:
    """Of a truncated file the error is one line that names it, and nothing is overwritten."""
    made = cifar10(tmp_path)
    before, file = made.page().text, tmp_path / f"{name}.json"
    file.write_text(file.read_text()[:-20])
    with pytest.raises(UserError, match=file.name) as error:
        page.write(tmp_path)
    assert "\n" not in str(error.value)
    assert (tmp_path / "report" / "index.html").read_text() == before


def luminance(colour: str) -> float:
    """Relative luminance of #rgb or #rrggbb; WCAG 2.1."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_all_text_has_the_contrast_of_wcag_aa() -> None:
    """Every colour of text on every ground is at least 4.5 to 1: light, dark and printed."""
    style = (pathlib.Path(sadajem_jax.__file__).parent / "report" / "style.css").read_text()
    light, *others = (
        dict(re.findall(r"--(\w+): (#\w+)", block))
        for block in re.findall(":root {(.*?)}", style, re.S)
    )
    for mode in (light, *(light | other for other in others)):
        for text in ("ink", "soft", "blue", "amber"):
            for ground in ("paper", "ours", "target"):
                dark, bright = sorted(luminance(mode[name]) for name in (text, ground))
                assert (bright + 0.05) / (dark + 0.05) >= 4.5, (text, ground, mode)
