"""The released code's state dict <-> our variables, as numpy arrays: a change of names and layout.

PyTorch keeps convolution kernels as [out, in, height, width] and linear weights as [out, in]; Flax
as [height, width, in, out] and [in, out]. `energy_output.*` exists there and is never used, and
`num_batches_tracked` is a counter: both are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

Variables = dict[str, dict[str, dict[str, np.ndarray]]]

_UNUSED = re.compile(r"^energy_output\.|\.num_batches_tracked$")
_NAMES = {  # the last word of a name, by kind of layer: (collection, our word)
    "batch_norm": {
        "weight": ("params", "scale"),
        "bias": ("params", "bias"),
        "running_mean": ("batch_stats", "mean"),
        "running_var": ("batch_stats", "var"),
    },
    "other": {"weight": ("params", "kernel"), "bias": ("params", "bias")},
}


def from_state_dict(state_dict: Mapping[str, Any]) -> Variables:
    """Flax variables of a released model.

    Args:
      state_dict: name -> array, names as `f.layer1.0.conv1.weight` or `class_output.bias`; a
        leading `module.` (DataParallel) is dropped.

    Returns:
      {"params": {layer: {leaf: array}}, "batch_stats": ...} for `WideResNet.apply`; "batch_stats"
      is empty without batch norm.

    Raises:
      ValueError: names the first key that is not one of the released network's.
    """
    variables: Variables = {"params": {}, "batch_stats": {}}
    for name, value in state_dict.items():
        name = name.removeprefix("module.")
        if not _UNUSED.search(name):
            collection, layer, leaf = _our_name(name)
            array = _transpose(np.asarray(value), (2, 3, 1, 0))
            variables[collection].setdefault(layer, {})[leaf] = array
    return variables


def to_state_dict(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inverse of `from_state_dict`: variables -> {name: array}, without the unused entries."""
    state_dict = {}
    for collection in ("params", "batch_stats"):
        for layer, leaves in variables.get(collection, {}).items():
            for leaf, value in leaves.items():
                name = f"{_torch_layer(layer)}.{_torch_leaf(layer, collection, leaf)}"
                state_dict[name] = _transpose(np.asarray(value), (3, 2, 0, 1))
    return state_dict


def _our_name(name: str) -> tuple[str, str, str]:
    """'f.layer1.0.bn1.weight' -> ('params', 'layer1_0_bn1', 'scale')."""
    layer, _, leaf = name.rpartition(".")
    layer = layer.removeprefix("f.").replace("shortcut.0", "shortcut").replace(".", "_")
    known = re.fullmatch(r"(layer\d_\d+_)?(conv[12]|bn[12]|shortcut)|class_output", layer)
    entry = _NAMES[_kind(layer)].get(leaf)
    if not known or not entry:
        raise ValueError(
            f"expected the released Wide-ResNet's names (f.conv1.weight, f.layer1.0.bn1.bias, ..., "
            f"class_output.weight), found {name!r}"
        )
    return entry[0], layer, entry[1]


def _torch_layer(layer: str) -> str:
    if layer == "class_output":
        return layer
    return "f." + re.sub(r"(layer\d)_(\d+)_", r"\1.\2.", layer).replace("shortcut", "shortcut.0")


def _torch_leaf(layer: str, collection: str, leaf: str) -> str:
    table = _NAMES[_kind(layer)]
    return next(theirs for theirs, ours in table.items() if ours == (collection, leaf))


def _kind(layer: str) -> str:
    return "batch_norm" if re.search(r"(^|_)bn\d$", layer) else "other"


def _transpose(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return array.transpose(axes) if array.ndim == 4 else array.T if array.ndim == 2 else array
