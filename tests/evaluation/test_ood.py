"""Detection of what was not trained on: planted scores, the released AUROC, and the sets."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from sadajem_jax.console.errors import UserError
from sadajem_jax.data import loading
from sadajem_jax.data.specs import DataError, get_spec
from sadajem_jax.evaluation import ood, ood_sets, passes
from sadajem_jax.inference import fitting, torch_checkpoint
from sadajem_jax.wide_resnet import WideResNet
from sadajem_jax.workdir.figure import Figure
from tests import places

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "path", places.golden_files("auroc/in"), ids=lambda p: p.stem if p else "none"
)
def test_auroc_is_the_released_one(path: pathlib.Path | None) -> None:
    """AUROC of the golden scores is the released value to 1e-6."""
    arrays = places.opened(path)
    found = ood.separation(arrays["auroc/in"], arrays["auroc/ood"])
    assert found["auroc"] == pytest.approx(float(arrays["auroc/value"]), rel=1e-6)


@pytest.mark.parametrize(
    "path", places.golden_files("eval/score"), ids=lambda p: p.stem if p else "none"
)
def test_scores_are_the_released_density_and_gradient(path: pathlib.Path | None) -> None:
    """The density and each image's own gradient norm are the released ones in float32."""
    arrays = places.opened(path)
    m = json.loads(str(arrays["meta"]))
    model = WideResNet(m["depth"], m["width"], m["n_classes"], m["norm"])
    state = {k.removeprefix("init/"): v for k, v in arrays.items() if k.startswith("init/")}
    variables = jax.tree.map(jnp.float32, torch_checkpoint.from_state_dict(state))
    images = (np.moveaxis(arrays["eval/x"], 1, -1) + 1) * 127.5
    found = ood.scores(passes.outputs(model, variables, images, batch_size=12, gradient=True))
    norms = np.sqrt((arrays["eval/score"] ** 2).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(found["log_density"], arrays["eval/lse"], rtol=1e-4)
    np.testing.assert_allclose(found["approx_mass"], -norms, rtol=1e-3)
    probs = np.exp(arrays["eval/logits"] - arrays["eval/lse"][:, None])
    np.testing.assert_allclose(found["max_prob"], probs.max(axis=-1), rtol=1e-4)


def test_scores_that_are_no_numbers_are_refused() -> None:
    """A model of NaN gives a line that says which score of how many images."""
    model, images = WideResNet(10, 1, 10), np.zeros((5, 8, 8, 1), np.uint8)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), variables)
    found = passes.outputs(model, broken, images, batch_size=8, gradient=True)
    with pytest.raises(UserError, match="not finite: log_density of 5 of 5 images"):
        ood.scores(found)


def test_a_perfect_score_separates_perfectly() -> None:
    """Where every image inside scores above every one outside, AUROC and AUPR are 1, FPR95 is 0."""
    found = ood.separation(RNG.uniform(1, 2, 400), RNG.uniform(0, 1, 300))
    assert found == {"auroc": 1.0, "aupr": 1.0, "fpr95": 0.0}


def test_a_random_score_has_half() -> None:
    """Over 100 draws of one law for both, AUROC is 0.5 and AUPR the share inside, to 3 s.e."""
    draws = [ood.separation(RNG.normal(size=400), RNG.normal(size=600)) for _ in range(100)]
    for name, truth in (("auroc", 0.5), ("fpr95", 0.95)):
        values = np.array([d[name] for d in draws])
        slack = 1 / 400 if name == "fpr95" else 0  # the threshold is one of 400 scores
        error = 3 * values.std(ddof=1) / 10
        assert abs(values.mean() - truth) < error + slack
    assert np.mean([d["aupr"] for d in draws]) == pytest.approx(0.4, abs=0.01)


def test_a_constant_score_is_chance() -> None:
    """Ties count one half: a score that says nothing has AUROC 0.5, and keeps all to keep 95%."""
    found = ood.separation(np.zeros(40), np.zeros(60))
    assert found == {"auroc": 0.5, "aupr": 0.4, "fpr95": 1.0}


def test_fpr95_by_hand() -> None:
    """To keep 19 of 20 inside, the threshold is the second lowest; a quarter outside reach it."""
    inside, outside = np.arange(20.0), np.array([-5.0, -4.0, 0.5, 3.0])
    assert ood.separation(inside, outside)["fpr95"] == 0.25


def test_comparison_names_and_figure() -> None:
    """Three scores by three measures under the set's name, and the scores behind the histograms."""
    inside, outside = ({s: RNG.normal(size=n) for s in ood.SCORES} for n in (30, 20))
    *numbers, figure = ood.compare("svhn_cropped", inside, outside)
    names = {n[0] for n in numbers if not isinstance(n, Figure)}
    assert names == {
        f"ood/svhn_cropped/{score}/{kind}"
        for score in ("log_density", "max_prob", "approx_mass")
        for kind in ("auroc", "aupr", "fpr95")
    }
    assert isinstance(figure, Figure) and figure.data.startswith(b"\x89PNG")
    np.testing.assert_array_equal(figure.arrays["max_prob/outside"], outside["max_prob"])


def test_photographs_and_inverted_digits_have_the_digits_shape() -> None:
    """The digits' own sets need no download, and are neither constant nor digits."""
    photographs = ood_sets.load("photographs", get_spec("digits"), 297)
    assert photographs.images.shape == (520, 8, 8, 1) and photographs.images.std() > 30
    inverted = ood_sets.load("inverted_digits", get_spec("digits"), 297)
    np.testing.assert_array_equal(
        255 - inverted.images, loading.load(get_spec("digits"), "test").images
    )


def test_noise_has_the_law_it_is_named_after() -> None:
    """Uniform noise takes every level alike; Gaussian noise has deviation 0.5 before its clip."""
    uniform = ood_sets.load("uniform_noise", get_spec("cifar10"), 200).images
    counts = np.bincount(uniform.ravel(), minlength=256)
    assert uniform.shape == (200, 32, 32, 3)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 255 + 5 * np.sqrt(2 * 255)
    gaussian = ood_sets.load("gaussian_noise", get_spec("cifar10"), 200).images / 127.5 - 1
    inside = np.abs(gaussian) < 0.98
    assert inside.mean() == pytest.approx(0.95, abs=0.003)  # P(|N| < 0.98 / 0.5)
    assert np.median(np.abs(gaussian)) == pytest.approx(0.5 * 0.6745, abs=0.01)


def test_interpolated_images_are_means_of_two() -> None:
    """Each is the mean of two test images, every test image is in exactly two, halves are kept."""
    images = RNG.integers(0, 256, (9, 4, 4, 1), np.uint8)
    found = ood_sets.interpolated(images)
    np.testing.assert_allclose(found.sum(axis=0), images.sum(axis=0), rtol=1e-6)
    pairs = (images[:, None].astype(np.float32) + images[None]) / 2
    apart = np.abs(found[:, None, None] - pairs).max(axis=(-1, -2, -3))
    assert ((apart == 0).any(axis=(1, 2))).all() and (found % 1 == 0.5).any()
    assert ood_sets.load("digits_interpolated", get_spec("digits"), 0).images.dtype == np.float32


def test_an_image_is_cut_to_its_centre_and_resized() -> None:
    """Of a tall image the top and bottom go; grey becomes colour where colour is asked for."""
    tall = np.zeros((40, 20, 3), np.uint8)
    tall[10:30] = 200
    images, how = fitting.fit([tall], 10, 3)
    assert images.shape == (1, 10, 10, 3) and (images == 200).all()
    assert how == "; the centred square of each, resized to 10x10"
    grey, how = fitting.fit([np.full((5, 5), 9, np.uint8)], 5, 3)
    assert grey.shape == (1, 5, 5, 3) and (grey == 9).all() and not how
    assert fitting.fit([tall], 10, 1)[0].shape == (1, 10, 10, 1)


def test_folders_and_npz_files_are_sets(tmp_path: pathlib.Path) -> None:
    """Image files by name, and .npz arrays of bytes or of floats in [-1, 1], come as they are."""
    images = RNG.integers(0, 256, (3, 8, 8, 1), np.uint8)
    (tmp_path / "faces" / "more").mkdir(parents=True)
    for i, where in enumerate(("a.png", "b.png", "more/c.png")):
        Image.fromarray(images[i, ..., 0]).save(tmp_path / "faces" / where)
    np.savez(tmp_path / "drawn.npz", images=images, labels=np.arange(3))
    np.savez(tmp_path / "floats.npz", x=(images / 127.5 - 1).astype(np.float32))
    for name in ("faces", "drawn.npz", "floats.npz"):
        found = ood_sets.load(f"{tmp_path}/{name}", get_spec("digits"), 0)
        np.testing.assert_array_equal(found.images, images)
        assert found.label == name.removesuffix(".npz") and "3 images" in found.note


def test_floats_of_another_range_are_doubted(tmp_path: pathlib.Path) -> None:
    """Floats none of which is below 0 are taken, with a warning; those below 0 without one."""
    for low, is_doubted in ((0, True), (-1, False)):
        np.savez(tmp_path / "x.npz", images=RNG.uniform(low, 1, (3, 8, 8, 1)))
        note = ood_sets.load(f"{tmp_path}/x.npz", get_spec("digits"), 0).note
        assert ("warning: floats in [-1, 1] are expected" in note) == is_doubted


def test_a_sets_checksum_is_of_its_images() -> None:
    """The same images have the same checksum, others another; the official size is known."""
    one, other = (ood_sets.load("uniform_noise", get_spec("digits"), n) for n in (9, 10))
    assert one.checksum == ood_sets.load("uniform_noise", get_spec("digits"), 9).checksum
    assert one.checksum != other.checksum and one.official is None
    for name in ("digits", "digits_interpolated"):
        assert ood_sets.load(name, get_spec("digits"), 0).official == 297


class Faces(tfds.core.GeneratorBasedBuilder):
    """A data set as celeb_a: images of another size, and no label."""

    VERSION = tfds.core.Version("1.0.0")
    name = "celeb_a"

    def _info(self) -> Any:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(12, 10, 3))})
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"test": self._generate_examples()}

    def _generate_examples(self) -> Any:
        for i in range(4):
            yield i, {"image": Image.fromarray(np.full((12, 10, 3), 40 * i, np.uint8))}


def test_any_prepared_data_set_can_be_listed(tmp_path: pathlib.Path) -> None:
    """A set that this program cannot prepare is read where it lies prepared, labels or none."""
    Faces(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    found = ood_sets.load("celeb_a", get_spec("cifar10"), 0, str(tmp_path))
    assert sorted(found.images[:, 0, 0, 0].tolist()) == [0, 40, 80, 120]
    assert found.note.endswith("of celeb_a; the centred square of each, resized to 32x32")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("celeb_a", "celeb_a: expected a prepared set in .*, found none"),
        ("{}/none.npz", "none.npz: expected an .npz file of images, found nothing"),
        ("{}/torn.npz", "torn.npz: expected an array `images`"),
        ("{}/wrong.npz", r"found int64 \[3\]"),
        ("{}/empty", "expected image files .*, found none"),
        ("{}/bad", r"bad: 1 of 1 image files cannot be read \(b.png; "),
        ("{}/missing", "missing: expected a folder of images or an .npz file, found nothing"),
        ("{}/bad/b.png", "found a file of another kind"),
        ("{}/bytes.npz", r"expected floats in \[-1, 1\], found 0 to 255"),
        ("{}/nan.npz", "found nan to nan"),
    ],
)
def test_what_cannot_be_had_is_one_line(tmp_path: pathlib.Path, name: str, match: str) -> None:
    """A set that is not there, or is no images, raises a DataError of a line that names it."""
    np.savez(tmp_path / "wrong.npz", images=np.arange(3))
    np.savez(tmp_path / "bytes.npz", images=np.linspace(0, 255, 64).reshape(1, 8, 8, 1))
    np.savez(tmp_path / "nan.npz", images=np.full((1, 8, 8, 1), np.nan))
    (tmp_path / "torn.npz").write_bytes((tmp_path / "bytes.npz").read_bytes()[:200])
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=match) as caught:
        ood_sets.load(name.format(tmp_path), get_spec("digits"), 0, str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_misspelt_name_is_told_the_nearest() -> None:
    """Our names, tensorflow-datasets' names and paths pass; others are told what is near."""
    for name in ("svhn_cropped", "cifar100_interpolated", "celeb_a", "./faces", "x.npz"):
        assert ood_sets.check_name(name) is None
    near = ("svhn_croped", "svhn_cropped"), ("place365_small", "places365_small")
    for name, meant in (*near, ("svnh", "svhn_cropped")):
        said = ood_sets.check_name(name) or ""
        assert said.startswith(f"{name!r} (did you mean {meant}?): ours are cifar10, ")


def test_less_than_the_official_split_is_said() -> None:
    """A folder with a part of SVHN's test split is named with both counts."""
    note = ood_sets.describe("svhn_cropped", 10_000)
    assert note == "10,000 of the 26,032 official test images of svhn_cropped"
