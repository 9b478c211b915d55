"""The two treatments of batch norm, as pure functions from parameters and images to logits.

"evaluation" normalises by the running statistics: an image's energy is its own. "batch" normalises
by the statistics of the images themselves, as training does: they move with the parameters, so that
scaling a filter changes nothing, and what comes out depends on the batches.
"""

from __future__ import annotations

import functools
from typing import Any

import jax

from sadajem_jax import batch_norm
from sadajem_jax.evaluation import networks
from sadajem_jax.evaluation.networks import Logits
from sadajem_jax.wide_resnet import WideResNet


def treatments(network: WideResNet, variables: Any) -> dict[str, Logits]:
    """{"evaluation": ..., "batch": ...}; of a network without batch norm the first alone."""
    found = {"evaluation": networks.logits_fn(network)}
    if variables.get("batch_stats"):
        found["batch"] = batch_logits_fn(network)
    return found


@functools.cache
def batch_logits_fn(network: WideResNet, dtype: str = "float32") -> Logits:
    """The network normalised by each batch's own statistics; see `networks.logits_fn`."""
    made = network.clone(dtype=jax.numpy.dtype(dtype))

    def logits(variables: Any, x: jax.Array) -> jax.Array:
        return batch_norm.forward(made, variables, x)[0]

    return logits
