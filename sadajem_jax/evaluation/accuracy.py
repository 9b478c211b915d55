"""Accuracy and negative log-likelihood of the classifier, batch norm in evaluation mode.

JEM's authors take theirs under the noise that it was trained with: eval.noise_std puts that number
beside the clean one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

NOISE_SEED = 20_230_618  # always the same noise


def evaluate(
    network: WideResNet,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    split: str = "test",
    progress: Advance | None = None,
) -> dict[str, float]:
    """Accuracy (0 to 1) and nll (nats an image); compiled once a network and batch size.

    Args:
      network: (x [B, H, W, channels], train) -> logits [B, C]; computes in float32 here.
      variables: {"params": ..., "batch_stats": ...}.
      images: [N, H, W, channels] uint8.
      labels: [N] int.
      batch_size: images a device takes at a time, at most.
      split: the prefix of the names.
      progress: is told how many images are done.

    Returns:
      {f"{split}/accuracy": ..., f"{split}/nll": ...}.
    """
    size = min(batch_size, -(-len(labels) // jax.device_count()))
    found = passes.outputs(network, variables, images, batch_size=size, progress=progress)
    return dict(from_logits(found.logits, labels, split))


def from_logits(
    logits: np.ndarray, labels: np.ndarray, split: str = "test"
) -> Iterator[tuple[str, float]]:
    """Yields (f"{split}/accuracy", ...) and (f"{split}/nll", ...) of [N, C] and [N]."""
    log_probs = scipy.special.log_softmax(logits.astype(np.float64), axis=-1)
    yield f"{split}/accuracy", float((logits.argmax(axis=-1) == labels).mean())
    yield f"{split}/nll", float(-log_probs[np.arange(len(labels)), labels].mean())


def with_noise(images: np.ndarray, noise_std: float) -> np.ndarray:
    """Bytes [N, ...] as floats of 0 to 255 and beyond, with noise whose std is of [-1, 1]."""
    noise = np.random.default_rng(NOISE_SEED).standard_normal(images.shape, np.float32)
    return images + 127.5 * np.float32(noise_std) * noise


def pieces(asked: Asked) -> Iterator[Piece]:
    """One piece, on the test set, and one under noise where that is asked for."""

    def run(progress: Advance) -> Iterator[Item]:
        yield asked.test_size
        yield from asked.test_size.note(asked.model.spec.name)
        logits = asked.passes.on_test(progress=progress).logits
        yield from from_logits(logits, asked.passes.test.labels)

    yield _piece(asked, "accuracy", {}, run)
    if asked.options.noise_std:
        yield _under_noise(asked, asked.options.noise_std)


def _under_noise(asked: Asked, noise_std: float) -> Piece:
    def run(progress: Advance) -> Iterator[Item]:
        yield asked.test_size
        yield f"Under Gaussian noise of {noise_std:g} on the test images in [-1, 1], drawn once."
        test = asked.passes.test
        logits = asked.passes.on(with_noise(test.images, noise_std), progress=progress).logits
        for name, value in from_logits(logits, test.labels):
            yield f"{name}_noisy", value

    return _piece(asked, "accuracy/noisy", {"noise_std": noise_std}, run)


def _piece(
    asked: Asked,
    name: str,
    settings: dict[str, Any],
    run: Callable[[Advance], Iterator[Item]],
) -> Piece:
    return Piece(
        name,
        asked.on_test | settings,
        run,
        checksum=asked.passes.test_checksum,
        cost=lambda: Cost(forwards=len(asked.passes.test.labels)),
    )
