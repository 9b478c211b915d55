"""Accuracy and negative log-likelihood of the classifier, batch norm in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import augment, energy
from sadajem_jax.evaluation.sharded import ShardedSums
from sadajem_jax.wide_resnet import WideResNet


class Accuracy:
    """Accuracy (0 to 1) and nll (nats an image) on labelled images; compiled once.

    Args:
      model: the network.
      batch_size: images a device takes at a time.
    """

    def __init__(self, model: WideResNet, *, batch_size: int) -> None:
        def per_row(variables: Any, rows: Any) -> dict[str, jax.Array]:
            images, labels = rows
            logits: Any = model.apply(variables, augment.to_float(images))
            return {
                "accuracy": (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32),
                "nll": energy.cross_entropy(logits, labels),
            }

        self._sums = ShardedSums(per_row, batch_size=batch_size)

    def __call__(
        self, variables: Any, images: np.ndarray, labels: np.ndarray, split: str
    ) -> Iterator[tuple[str, float]]:
        """Yields (f"{split}/accuracy", ...) and (f"{split}/nll", ...).

        Args:
          variables: {"params": ..., "batch_stats": ...}.
          images: [N, H, W, channels] uint8.
          labels: [N] int.
          split: the prefix of the names.
        """
        sums = self._sums(variables, (images, labels))
        for name, value in sums.items():
            yield f"{split}/{name}", value / len(labels)
