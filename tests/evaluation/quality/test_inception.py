"""The Inception network: its arrays against those of the port, and its weights' way in."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation.quality import archive, convert, inception
from sadajem_jax.evaluation.quality.resize import bilinear, weights
from tests import places
from tests.evaluation.quality import drawn

golden = pytest.mark.parametrize(
    "path", places.golden_files(drawn.KEY), ids=lambda p: p.stem if p else "none"
)


def compare(path: pathlib.Path | None, dtype: Any, tolerance: float) -> None:
    """Every output of every set of images, relative to the largest value of its array."""
    arrays = places.opened(path)
    variables = inception.from_state_dict(drawn.state_dict(path), dtype)
    apply = jax.jit(inception.InceptionV3().apply)
    sets = [name.removesuffix("/images") for name in arrays if name.endswith("/images")]
    assert sets
    for name in sets:
        images = np.moveaxis(arrays[f"{name}/images"], 1, -1)
        found = apply(variables, images if dtype == np.float32 else images.astype(dtype))
        assert set(found) == {k.split("/")[1] for k in arrays if k.startswith(f"{name}/")} - {
            "images"
        }
        for output, value in found.items():
            expected = arrays[f"{name}/{output}"]
            assert value.dtype == dtype
            np.testing.assert_allclose(
                value, expected, rtol=0, atol=tolerance * abs(expected).max(), err_msg=output
            )


@golden
def test_is_the_ports_network_in_float64(path: pathlib.Path | None, x64: None) -> None:
    """With weights drawn by the files' rule all five outputs are the port's to 1e-6."""
    compare(path, np.float64, 1e-6)


@golden
def test_is_the_ports_network_in_float32(path: pathlib.Path | None) -> None:
    """In float32, as it is used, the outputs are the port's to 1e-4; images may be bytes."""
    compare(path, np.float32, 1e-4)


def test_resizes_as_tensorflow_1_did() -> None:
    """New pixel i is the line through the old ones at i * size / target; the last one is held."""
    image = jnp.array([0.0, 10.0, 40.0])[None, :, None, None]
    found = bilinear(image, 6)[0, :, 0, 0]
    np.testing.assert_allclose(found, [0, 5, 10, 25, 40, 40], atol=1e-5)
    np.testing.assert_array_equal(weights(299, 299), np.eye(299))
    assert (np.count_nonzero(weights(500, 299), axis=1) <= 2).all()  # shrinking smooths nothing


@golden
def test_conversion_keeps_the_weights(path: pathlib.Path | None, tmp_path: pathlib.Path) -> None:
    """The .npz holds every array of the state dict to the bit, and loads without PyTorch."""
    state = drawn.state_dict(path)
    file = tmp_path / inception.PUBLISHED.files[0]
    archive.write(file.with_suffix(".made.npz"), state, {})
    out = convert.convert(file.with_suffix(".made.npz"), tmp_path / f"{file.stem}.npz")
    arrays, meta = archive.read(out)
    assert meta["network"] == "inception"
    assert set(arrays) == {name for name in state if "num_batches_tracked" not in name}
    for name, value in arrays.items():
        np.testing.assert_array_equal(value, state[name])
    by_file, by_folder = inception.extractor(out), inception.extractor(tmp_path)
    assert by_file.fingerprint == by_folder.fingerprint


def test_absent_weights_are_told_in_one_line(tmp_path: pathlib.Path) -> None:
    """The line says which file, how large and where people get it; nothing is fetched."""
    for path in (None, tmp_path, tmp_path / "nowhere.pth"):
        with pytest.raises(UserError) as error:
            inception.extractor(path)
        line = str(error.value)
        assert "\n" not in line
        for word in ("pt_inception-2015-12-05-6726825d.pth", "91 MB", "mseitzer/pytorch-fid"):
            assert word in line


@golden
def test_another_networks_weights_are_refused(path: pathlib.Path | None) -> None:
    """A missing, misshapen or unknown array is named: the libraries' InceptionV3 has other ones."""
    state = drawn.state_dict(path)
    name = "Mixed_7c.branch_pool.bn.running_var"
    cases = {
        name: {k: v for k, v in state.items() if k != name},
        "fc.weight": state | {"fc.weight": state["fc.weight"][:1000]},
        "AuxLogits.fc.weight": state | {"AuxLogits.fc.weight": np.zeros((1000, 768))},
    }
    for named, wrong in cases.items():
        with pytest.raises(UserError, match=named):
            inception.from_state_dict(wrong)


@pytest.mark.torch
@golden
def test_reads_the_ports_file(
    path: pathlib.Path | None, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A state dict that PyTorch saved gives the drawn weights' features, as it is or converted."""
    torch = pytest.importorskip("torch")
    state = drawn.state_dict(path)
    file = tmp_path / inception.PUBLISHED.files[0]
    torch.save({name: torch.from_numpy(value.copy()) for name, value in state.items()}, file)
    extractor = functools.partial(inception.extractor, batch_size=1)
    direct = extractor(file)
    assert "not the published file" in caplog.text  # which these weights are not
    assert convert.main([str(file)]) == 0
    assert extractor(tmp_path).fingerprint == direct.fingerprint
    expected = places.opened(path)
    images = np.moveaxis(expected["cifar/images"], 1, -1)[:1]
    found = direct(images)
    for name, output in (("features", "pool_2048"), ("logits", "logits_unbiased")):
        value = expected[f"cifar/{output}"][:1]
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-4 * abs(value).max())
