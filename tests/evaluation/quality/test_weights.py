"""Weights from others: whatever could run code is refused, unread."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation import inception
from sadajem_jax.evaluation.quality import archive, weights


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: pathlib.Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def bomb(tmp_path: pathlib.Path) -> bytes:
    """A pickle that leaves tmp_path/trace if it is executed; it works, as is seen at once."""
    data, trace = pickle.dumps(Bomb(tmp_path / "trace")), tmp_path / "trace"
    pickle.loads(data)
    trace.rmdir()
    return data


@pytest.mark.parametrize("name", ["inception_v3_weights_fid.pickle", "weights.pkl"])
def test_a_pickle_is_refused_unexecuted(name: str, bomb: bytes, tmp_path: pathlib.Path) -> None:
    """The line names the file and what to use instead; the pickle's code has not run."""
    (tmp_path / name).write_bytes(bomb)
    with pytest.raises(UserError, match=f"{name} is a pickle.*convert"):
        weights.read(tmp_path / name)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["inception-2015-12-05.pt", "renamed.pth"])
def test_torchscript_is_refused_unexecuted(name: str, bomb: bytes, tmp_path: pathlib.Path) -> None:
    """It is known by its contents under any name, and nothing in it runs."""
    with zipfile.ZipFile(tmp_path / name, "w") as file:
        for member in ("data.pkl", "constants.pkl", "version"):
            file.writestr(f"inception/{member}", bomb)
    with pytest.raises(UserError, match=f"{name} is TorchScript"):
        weights.read(tmp_path / name)
    assert not (tmp_path / "trace").exists()


@pytest.mark.torch
def test_a_state_dict_that_is_none_is_refused_unexecuted(
    bomb: bytes, tmp_path: pathlib.Path
) -> None:
    """A .pth with code in it is one line, and the code has not run."""
    pytest.importorskip("torch")
    (tmp_path / "weights.pth").write_bytes(bomb)
    with pytest.raises(UserError, match="without executing"):
        weights.read(tmp_path / "weights.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is not None, reason="PyTorch is installed here"
)
def test_without_pytorch_a_pth_says_what_to_install(tmp_path: pathlib.Path) -> None:
    """The line names the extra, and the way round it."""
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"'\.\[torch\]'.*convert"):
        weights.read(tmp_path / "weights.pth")


def test_a_changed_archive_is_damaged(tmp_path: pathlib.Path) -> None:
    """Any flipped byte, cut or foreign file is known when it is read."""
    file = tmp_path / "weights.npz"
    archive.write(file, {"a": np.arange(100.0)}, {"of": "this"})
    whole = file.read_bytes()
    arrays, meta = archive.read(file)
    assert meta == {"of": "this"} and arrays["a"].tolist() == list(range(100))
    middle = whole.index(np.float64(50).tobytes())
    for damaged in (
        whole[: middle + 6] + bytes([whole[middle + 6] ^ 1]) + whole[middle + 7 :],
        whole[:-30],
        b"",
        b"not an archive",
    ):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"weights\.npz: expected"):
            weights.read(file)
    np.savez(file, a=np.zeros(3))
    with pytest.raises(UserError, match=r"expected an \.npz that this program wrote"):
        weights.read(file)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the last step fails the folder is as it was: the old file, and nothing beside it."""
    file = tmp_path / "weights.npz"
    archive.write(file, {"a": np.zeros(3)}, {})

    def full(*_: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        archive.write(file, {"a": np.ones(3)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]
    assert archive.read(file)[0]["a"].tolist() == [0, 0, 0]


def test_the_command_line_says_what_is_wrong(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, another network's weights, no file and no word are one line and status 2."""
    other = tmp_path / "other.npz"
    archive.write(other, {"a": np.zeros(3)}, {})
    files: list[list[str]] = [[], [str(tmp_path / "none.pth")], [str(other)]]
    for arguments in ([], *(["convert", *file] for file in files)):
        assert inception.main(arguments) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
