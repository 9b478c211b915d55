"""Accuracy and negative log-likelihood of the classifier, batch norm in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import scipy.special

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation import passes
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.parts import Item, Piece
from sadajem_jax.wide_resnet import WideResNet


def evaluate(
    network: WideResNet,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    split: str = "test",
) -> dict[str, float]:
    """Accuracy (0 to 1) and nll (nats an image); compiled once a network and batch size.

    Args:
      network: (x [B, H, W, channels], train) -> logits [B, C]; computes in float32 here.
      variables: {"params": ..., "batch_stats": ...}.
      images: [N, H, W, channels] uint8.
      labels: [N] int.
      batch_size: images a device takes at a time, at most.
      split: the prefix of the names.

    Returns:
      {f"{split}/accuracy": ..., f"{split}/nll": ...}.
    """
    size = min(batch_size, -(-len(labels) // jax.local_device_count()))
    found = passes.outputs(network, variables, images, batch_size=size)
    return dict(from_logits(found.logits, labels, split))


def from_logits(
    logits: np.ndarray, labels: np.ndarray, split: str = "test"
) -> Iterator[tuple[str, float]]:
    """Yields (f"{split}/accuracy", ...) and (f"{split}/nll", ...) of [N, C] and [N]."""
    log_probs = scipy.special.log_softmax(logits.astype(np.float64), axis=-1)
    yield f"{split}/accuracy", float((logits.argmax(axis=-1) == labels).mean())
    yield f"{split}/nll", float(-log_probs[np.arange(len(labels)), labels].mean())


def pieces(asked: Asked) -> Iterator[Piece]:
    """One piece, on the test set."""

    def run(progress: Advance) -> Iterator[Item]:
        yield asked.test_size
        yield from asked.test_size.note(asked.model.spec.name)
        logits = asked.passes.on_test(progress=progress).logits
        yield from from_logits(logits, asked.passes.test.labels)

    yield Piece(
        "accuracy",
        asked.on_test,
        run,
        checksum=asked.passes.test_checksum,
        cost=lambda: Cost(forwards=len(asked.passes.test.labels)),
    )
