"""The features of a classifier of this program: what its last layer sees, without changing it."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sadajem_jax.evaluation.quality.extractor import Extractor
from sadajem_jax.wide_resnet import WideResNet

NAME, VERSION = "classifier", "1"
HEAD = "class_output"


def penultimate(network: WideResNet, variables: Any, x: jax.Array) -> dict[str, jax.Array]:
    """Pooled features and logits, batch norm in evaluation mode.

    Args:
      network: the Wide-ResNet; its last layer is named class_output.
      variables: of the network.
      x: images [B, H, W, channels] in [-1, 1].

    Returns:
      {"features": [B, D], "logits": [B, C]}.
    """
    seen: list[jax.Array] = []

    def watch(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if context.module.name == HEAD and context.method_name == "__call__":
            seen.append(args[0])
        return call(*args, **kwargs)

    with nn.intercept_methods(watch):
        logits: Any = network.apply(variables, x)
    (features,) = seen
    return {"features": features, "logits": logits}


def extractor(
    network: WideResNet, variables: Any, *, name: str = NAME, batch_size: int = 100
) -> Extractor:
    """A trained classifier as an extractor of images of 0..255.

    Args:
      network: its network; computes in float32 here.
      variables: params and batch_stats.
      name: what its measures are called after.
      batch_size: images a device takes at a time.

    Returns:
      The extractor.
    """
    precise = network.clone(dtype=jnp.float32)

    def per_image(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
        return penultimate(precise, variables, images / 127.5 - 1)

    return Extractor(
        name,
        per_image,
        variables,
        version=VERSION,
        batch_size=batch_size,
        channels=variables["params"]["conv1"]["kernel"].shape[2],
    )
