"""Parameters in the type that convolutions compute in, cast once for the forwards of a chain."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax


def cast_once(network: nn.Module, variables: Any) -> Any:
    """The variables, convolutions' parameters as the network's `dtype`; forwards cast none then.

    Norms and linear layers keep their type: they compute in float32. A network without a `dtype`
    keeps all.
    """
    dtype = getattr(network, "dtype", None)
    if dtype is None or "params" not in variables:
        return variables
    return {**variables, "params": _of_modules(variables["params"], dtype)}


def _of_modules(params: Any, dtype: Any) -> Any:
    if not isinstance(params, dict):
        return params
    if getattr(params.get("kernel"), "ndim", 0) == 4:
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    return {name: _of_modules(inner, dtype) for name, inner in params.items()}
