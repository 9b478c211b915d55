"""Published weights in: found by their names, read without executing anything, never downloaded.

A .pth file is a pickle. PyTorch's `weights_only` reader builds tensors and nothing else; whatever
else could run code is refused by name or by content, unread.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pathlib
import re
import zipfile
from typing import NamedTuple

import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation.quality import archive

logger = logging.getLogger(__name__)

CONVERT = "python -m sadajem_jax.evaluation.inception convert FILE"


class Published(NamedTuple):
    """What people get from others.

    Attributes:
      title: of the network, in words.
      files: names that its weights go by.
      about: how large they are and where people get them.
      named: where an evaluation is told which to take.
    """

    title: str
    files: tuple[str, ...]
    about: str
    named: str


def find(path: str | os.PathLike[str] | None, published: Published) -> pathlib.Path:
    """The file of a network's weights.

    Args:
      path: of the file, or of a folder that holds one of the published names or what `convert`
        made of one; None finds nothing.
      published: the network's.

    Returns:
      The file; ours is preferred to a published one.

    Raises:
      UserError: if there is none.
    """
    if path is not None:
        given = pathlib.Path(path).expanduser()
        names = [pathlib.Path(name).with_suffix(".npz").name for name in published.files]
        among = [given / name for name in (*names, *published.files)] if given.is_dir() else [given]
        for file in among:
            if file.is_file():
                return file
    where = "no file was named" if path is None else f"{path} holds none"
    raise UserError(
        f"the weights of {published.title} are not there: expected "
        f"{' or '.join(published.files)} ({published.about}), and {where}; nothing is downloaded: "
        f"{published.named}"
    )


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """A state dict, {name: array}, of a published .pth file or of our .npz.

    Raises:
      UserError: if the file could run code when read, is damaged, or PyTorch is not installed.
    """
    if path.suffix == ".npz":
        arrays, _ = archive.read(path)
        return arrays
    if path.suffix in (".pickle", ".pkl"):
        raise UserError(f"{path.name} is a pickle, which can run any code when read: {_instead()}")
    if _is_torchscript(path):
        raise UserError(f"{path.name} is TorchScript, a program and not weights: {_instead()}")
    if path.suffix not in (".pth", ".pt"):
        raise UserError(f"{path}: expected weights as .pth or as our .npz; {_instead()}")
    return _state_dict(path)


def _instead() -> str:
    return f"use the network's .pth state dict, or the .npz that `{CONVERT}` makes of it"


def _is_torchscript(path: pathlib.Path) -> bool:
    if not zipfile.is_zipfile(path):
        return path.name == "inception-2015-12-05.pt"
    with zipfile.ZipFile(path) as file:
        return any(name.endswith("/constants.pkl") for name in file.namelist())


def _state_dict(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"reading {path.name} needs PyTorch: pip install '.[torch]', or run "
            f"`{CONVERT}` where PyTorch is and take its .npz"
        ) from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        state = {str(name): value.numpy() for name, value in found.items()}
    except OSError:
        raise
    except Exception as error:  # a pickle may fail in any way
        raise UserError(
            f"{path}: expected a state dict of tensors alone, found {type(error).__name__} when it "
            "was read without executing it; get the published file anew"
        ) from error
    _compare_with_name(path)
    return state


def _compare_with_name(path: pathlib.Path) -> None:
    """Warns where a name ends, as published ones do, with the start of another file's SHA-256."""
    named = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if named and not found.startswith(named[1]):
        logger.warning(
            "%s: not the published file: its SHA-256 begins with %s; what is measured with it is "
            "not comparable",
            path,
            found[:8],
        )
