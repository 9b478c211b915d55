"""The released protocol as a piece of an evaluation: Inception, the buffer, its own choices."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation import costs
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.parts import Item, Piece, Size
from sadajem_jax.evaluation.quality import effort, frechet, protocols
from sadajem_jax.evaluation.quality.extractors import Network
from sadajem_jax.evaluation.quality.reference import References
from sadajem_jax.evaluation.quality.sources import crc

NOTE = (
    "Released protocol: Inception Score on the most confident 10% of each predicted class of the "
    "buffer, FID on the most confident 90%. The paper does not say so; comparable with its numbers "
    "alone."
)


def applies(asked: Asked) -> bool:
    """Whether it was asked for: with weights, and against the images that it compares with."""
    return bool(asked.options.inception) and not asked.options.against


class Case:
    """The protocol on a model's buffer.

    Args:
      asked: the evaluation.
      network: Inception.
      kept: references that pieces share: one of the pooled sets is the plain protocol's.
    """

    def __init__(self, asked: Asked, network: Network, kept: References) -> None:
        self._asked, self._network, self._kept = asked, network, kept

    def piece(self) -> Piece:
        """What an evaluation does."""
        name = self._asked.model.spec.name
        pools = protocols.pools_splits(name)
        settings = {
            "data": name,
            "network": self._network.label,
            "protocol": "released",
            "precision": "float32, highest",
            "images": "buffer, most confident 10% and 90%",
            "against": "training and test images" if pools else "training images, with noise",
        }
        return Piece(
            f"quality/{self._network.label}/released",
            settings,
            self._run,
            checksum=lambda: " ".join([self._network.checksum, *map(crc, self._real)]),
            unit="",
            cost=self._cost,
        )

    @functools.cached_property
    def _real(self) -> list[np.ndarray]:
        """Raises UserError if they are not to be had."""
        model, passes = self._asked.model, self._asked.passes
        sets = [model.training_images, passes.held_out]
        train = [found.images for found in sets if found is not None and len(found.images)]
        return protocols.released_sets(model.spec.name, train, passes.test.images)

    def _cost(self) -> Cost:
        """Of seeing all images but those whose reference is kept, and of the distance."""
        extractor, shape = self._network.extractor, self._asked.model.image_shape
        real = sum(len(images) for images in self._real)
        unseen = sum(len(x) for x in self._real if not self._kept.has(extractor, x))
        n = len(self._asked.model.buffer)
        return costs.total(
            [
                Cost(forwards=n),
                effort.of_features(extractor, shape, n + unseen),
                effort.of_distances(1, n + real, extractor.dim(shape)),
            ]
        )

    def _run(self, progress: Advance) -> Iterator[Item]:
        buffer, extractor = self._asked.model.buffer, self._network.extractor
        # Not the model's own method: a chain without a clip leaves [-1, 1].
        logits = self._asked.passes.on((buffer + 1) * 127.5, progress=progress).logits
        protocols.choose(logits)  # refuses too few before the long work
        seen = [self._kept.of(extractor, images, progress).moments for images in self._real]
        yield Size(len(buffer))
        yield NOTE
        yield from self._asked.on_buffer()
        real = functools.reduce(frechet.pooled, seen)
        yield from protocols.released(buffer, logits, extractor, real, progress)
