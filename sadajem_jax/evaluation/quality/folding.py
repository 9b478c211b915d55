"""A published network's parameters as ours: each convolution with its batch norm folded into it.

In evaluation batch norm is a scale and a shift of each channel, so the product with the kernel is
the same function with half the names. It is folded in float64, then rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from sadajem_jax.console.errors import UserError

EPSILON = 1e-3  # of both networks' batch norms, TensorFlow's
_NORM = ("weight", "bias", "running_mean", "running_var")

State = Mapping[str, np.ndarray]
Names = Callable[[tuple[str, ...]], tuple[str, str | None]]
"""Path of our module -> (their layer, their batch norm or None)."""


def variables(state: State, template: Any, names: Names, dtype: Any = np.float32) -> dict[str, Any]:
    """Flax variables of a published state dict.

    Args:
      state: their names -> arrays, PyTorch's layouts.
      template: our params, or their shapes, nested: {..., module: {"kernel": ..., "bias": ...}}.
      names: of their layers for ours.
      dtype: of the result.

    Returns:
      {"params": ...} in the template's structure.

    Raises:
      UserError: names the first array that is missing, has another shape or is not known.
    """
    left = {name for name in state if not name.endswith("num_batches_tracked")}
    params: dict[str, Any] = {}
    for path, module in _modules(template):
        layer, norm = names(path)
        found = _layer(state, layer, norm, module)
        left -= {f"{layer}.weight", f"{layer}.bias", *(f"{norm}.{leaf}" for leaf in _NORM)}
        inner = params
        for word in path[:-1]:
            inner = inner.setdefault(word, {})
        inner[path[-1]] = {leaf: found[leaf].astype(dtype) for leaf in module}
    if left:
        raise UserError(f"expected another network's weights: {min(left)!r} is not known here")
    return {"params": params}


def fold(kernel: np.ndarray, norm: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(kernel, bias) of one convolution that does what a convolution and a batch norm did.

    Args:
      kernel: [..., out].
      norm: weight, bias, running_mean and running_var, [out] each.

    Returns:
      kernel [..., out] and bias [out], float64.
    """
    leaves = {leaf: np.asarray(norm[leaf], np.float64) for leaf in _NORM}
    scale = leaves["weight"] / np.sqrt(leaves["running_var"] + EPSILON)
    return kernel * scale, leaves["bias"] - leaves["running_mean"] * scale


def _modules(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in tree.items():
        if "kernel" in inner:
            yield (*path, name), inner
        else:
            yield from _modules(inner, (*path, name))


def _layer(state: State, layer: str, norm: str | None, module: Any) -> dict[str, np.ndarray]:
    shape = tuple(module["kernel"].shape)
    order = (3, 2, 0, 1) if len(shape) == 4 else (1, 0)  # [h, w, in, out] there is OIHW
    theirs = _take(state, f"{layer}.weight", tuple(shape[axis] for axis in order))
    kernel = theirs.transpose(np.argsort(order)).astype(np.float64)
    if norm is None:
        biases = {
            leaf: _take(state, f"{layer}.bias", shape[-1:]) for leaf in module if leaf == "bias"
        }
        return {"kernel": kernel, **biases}
    norms = {leaf: _take(state, f"{norm}.{leaf}", shape[-1:]) for leaf in _NORM}
    kernel, bias = fold(kernel, norms)
    return {"kernel": kernel, "bias": bias}


def _take(state: State, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in state:
        raise UserError(f"expected weights that hold {name!r}, found none of that name")
    if state[name].shape != shape:
        raise UserError(f"{name}: expected {list(shape)}, found {list(state[name].shape)}")
    return state[name]
