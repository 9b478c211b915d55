"""Decoded splits are kept, and never believed when they are not what the folder holds."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow_datasets")

from sadajem_jax.data import loading, prepared
from sadajem_jax.data.specs import get_spec
from tests.data import test_data

SPEC = get_spec("cifar10")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data_dir with a small prepared CIFAR-10 of which nothing is decoded yet."""
    source, root = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("data")
    test_data.write_cifar10(source)
    with test_data.serving(source) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        test_data.redirect(patch, "cifar10", address)
        prepared.prepare(SPEC, str(root))
    return root


@pytest.fixture
def folder(
    made: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
    """A copy of it that a test may spoil, its version folder; the user's cache is elsewhere."""
    monkeypatch.setenv("SADAJEM_CACHE_DIR", str(tmp_path / "cache"))
    shutil.copytree(made, tmp_path / "data")
    return next((tmp_path / "data" / "cifar10").iterdir())


def load(folder: pathlib.Path) -> loading.Images:
    """The training split of the folder's data_dir."""
    return loading.load(SPEC, "train", str(folder.parents[1]))


def kept(folder: pathlib.Path) -> list[pathlib.Path]:
    """All that lies beside the set."""
    return list((folder / "decoded").iterdir())


def same(a: loading.Images, b: loading.Images) -> None:
    """Equal arrays of equal types."""
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_what_was_decoded_once_is_read(folder: pathlib.Path, monkeypatch: Any, capsys: Any) -> None:
    """The second reading gives the same arrays, opens no image, and says where from."""
    first = load(folder)
    monkeypatch.setattr(Image, "open", None)
    same(first, load(folder))
    assert kept(folder) == [folder / "decoded" / "train.npz"]
    assert (
        f"images (the official split has 50,000) from {kept(folder)[0]}" in capsys.readouterr().err
    )


@pytest.mark.parametrize("where", [0.02, 0.5, 0.99])
def test_a_flipped_byte_is_seen_and_mended(folder: pathlib.Path, where: float, capsys: Any) -> None:
    """Damage anywhere in the file is said once, and the images are decoded and kept again."""
    first, (path,) = load(folder), kept(folder)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0xFF
    path.write_bytes(content)
    same(first, load(folder))
    assert capsys.readouterr().err.count(f"warning: {path} cannot be read") == 1
    same(first, load(folder))
    assert "warning" not in capsys.readouterr().err


def test_half_a_file_is_seen(folder: pathlib.Path, capsys: Any) -> None:
    """A file that ends too early is damage as well."""
    first, (path,) = load(folder), kept(folder)
    os.truncate(path, path.stat().st_size // 2)
    same(first, load(folder))
    assert "cannot be read" in capsys.readouterr().err


def test_a_changed_set_is_decoded_again(folder: pathlib.Path, capsys: Any) -> None:
    """Where a file of the prepared set was written since, nothing of before is used."""
    load(folder)
    (path,) = kept(folder)
    with np.load(path) as stored:
        told = dict(stored)
    with open(path, "wb") as file:
        np.savez(file, **told | {"labels": told["labels"] * 0})
    assert not load(folder).labels.any()  # what lies there is what is read
    os.utime(next(folder.glob("*train.array_record*")))
    assert load(folder).labels.any()
    assert f"warning: {path} was made from other files" in capsys.readouterr().err


def test_a_set_of_others_is_kept_in_the_users_cache(folder: pathlib.Path, monkeypatch: Any) -> None:
    """Where nothing can be written beside the set, the user's cache folder serves."""
    (folder / "decoded").write_text("in the way")
    first = load(folder)
    monkeypatch.setattr(Image, "open", None)
    same(first, load(folder))


def test_nowhere_to_write_is_no_failure(
    folder: pathlib.Path, tmp_path: pathlib.Path, capsys: Any
) -> None:
    """Where neither can be written, the images are read as ever, and one line says so."""
    (folder / "decoded").write_text("in the way")
    (tmp_path / "cache").write_text("in the way")
    assert len(load(folder).labels) == 5 * test_data.PER_FILE
    assert capsys.readouterr().err.count("are not kept") == 1
