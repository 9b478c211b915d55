"""Parameters in the type that convolutions compute in, cast once for many forwards."""

from __future__ import annotations

from typing import Any

import jax


def cast_convolutions(params: Any, dtype: Any) -> Any:
    """The parameters, those of convolutions cast; a forward then finds nothing to cast.

    Norms and linear layers keep their type: they compute in float32.

    Args:
      params: module name -> its parameters, or a dict of such.
      dtype: of the convolutions' inputs and outputs.
    """
    if not isinstance(params, dict):
        return params
    if getattr(params.get("kernel"), "ndim", 0) == 4:
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    return {name: cast_convolutions(inner, dtype) for name, inner in params.items()}
