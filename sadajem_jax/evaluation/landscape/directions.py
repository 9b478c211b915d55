"""Random directions in the space of parameters, each filter as long as the network's own.

Li et al. 2018, Visualizing the Loss Landscape of Neural Nets: a network that scales its filters
computes the same behind a norm, so steps are measured in lengths of the filters.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

Params = Any

TINY = 1e-10  # beside the length of a direction, as in the authors' code
BIAS_AND_NORM = ("ignore", "keep")


def filter_normalised(key: jax.Array, params: Params, bias_and_norm: str = "ignore") -> Params:
    r"""A Gaussian direction, filter by filter as long as the parameters.

    .. math:: d_i \leftarrow d_i \, \lVert w_i \rVert / (\lVert d_i \rVert + 10^{-10})

    for each filter i. Flax's filters lie on the *last* axis (PyTorch's on the first): of a kernel
    [height, width, in, out] each of the `out`, of a matrix [in, out] each column.

    Args:
      key: of the draw.
      params: pytree of arrays.
      bias_and_norm: of the one-dimensional parameters, biases and the norms' scales: "ignore"
        leaves them where they are, as in the authors' published figures; "keep" moves each along
        itself, d = w, which is the other choice of their code.

    Returns:
      A direction of the structure and types of `params`, in host memory.

    Raises:
      ValueError: if `bias_and_norm` is neither.

    Examples:
      >>> w = {"kernel": np.array([[3.0, 0.0], [4.0, 1.0]]), "bias": np.ones(2)}
      >>> d = filter_normalised(jax.random.key(0), w)
      >>> np.linalg.norm(d["kernel"], axis=0).round(4).tolist(), d["bias"].tolist()
      ([5.0, 1.0], [0.0, 0.0])
    """
    if bias_and_norm not in BIAS_AND_NORM:
        raise ValueError(f"bias_and_norm must be one of {BIAS_AND_NORM}, found {bias_and_norm!r}")
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, params))
    # one draw for all, and NumPy for the rest: nothing is compiled for each of the many shapes
    ends = np.cumsum([w.size for w in leaves])
    drawn = np.split(np.asarray(jax.random.normal(key, (int(ends[-1]),))), ends[:-1])
    along = functools.partial(_along, keep=bias_and_norm == "keep")
    return jax.tree.unflatten(structure, map(along, drawn, leaves))


def _along(draw: np.ndarray, w: np.ndarray, *, keep: bool) -> np.ndarray:
    if w.ndim <= 1:
        return w if keep else np.zeros_like(w)
    d = draw.reshape(w.shape).astype(w.dtype)
    return d * (_lengths(w) / (_lengths(d) + TINY))


def _lengths(w: np.ndarray) -> np.ndarray:
    """Of the filters, [1, ..., out]."""
    return np.sqrt(np.sum(np.square(w), axis=tuple(range(w.ndim - 1)), keepdims=True))
