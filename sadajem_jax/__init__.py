"""SADA-JEM in JAX: one network that classifies, generates and knows what it has not seen.

Only what is asked for is imported: `from sadajem_jax import sam` loads jax and optax alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sadajem_jax.inference.load import load
    from sadajem_jax.inference.model import Model
    from sadajem_jax.sharpness_aware import SamState, sam, sam_gradient
    from sadajem_jax.wide_resnet import WideResNet

__version__ = "0.1.0"

_HOME = {
    "load": "sadajem_jax.inference.load",
    "Model": "sadajem_jax.inference.model",
    "sam": "sadajem_jax.sharpness_aware",
    "sam_gradient": "sadajem_jax.sharpness_aware",
    "SamState": "sadajem_jax.sharpness_aware",
    "WideResNet": "sadajem_jax.wide_resnet",
}

__all__ = ["Model", "SamState", "WideResNet", "__version__", "load", "sam", "sam_gradient"]


def __getattr__(name: str) -> Any:
    """Imports a public name from its module the first time it is used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'sadajem_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
