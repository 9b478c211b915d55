"""What all pieces of the landscape stand on: the images, and a surface for each batch norm."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation.asked import SHUFFLE, Asked
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.landscape.surface import Surface
from sadajem_jax.evaluation.landscape.treatments import treatments
from sadajem_jax.evaluation.parts import Item, Size
from sadajem_jax.randomness import run_key

# A Hessian product takes 9 forwards: the forward pass once and its derivative twice (of inputs and
# of weights), and of the two gradients of each layer each once and its derivative twice. A gradient
# of the input alone is counted as 2.
GRADIENTS_A_PRODUCT = 4.5


class Ground:
    """The images, and E(theta) and the loss on them.

    Args:
      asked: what the evaluation was asked for.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked, self.wanted = asked, asked.options.landscape
        self.logits_fns = treatments(asked.model.network, asked.model.variables)
        self.batch_size = min(asked.model.group_size, self.wanted.images)
        self.key = run_key(asked.model.seed)

    @functools.cached_property
    def images(self) -> Images:
        """The first of the training images in an order by chance, but always the same.

        Whole batches: the statistics of a shorter one would be other ones.
        """
        there = self.asked.model.training_images
        count = min(self.wanted.images, len(there.labels))
        whole = count - count % min(self.batch_size, count)
        order = np.random.default_rng(SHUFFLE).permutation(len(there.labels))[:whole]
        return Images(there.images[order], there.labels[order])

    @functools.cached_property
    def surfaces(self) -> dict[str, Surface]:
        """{treatment: E(theta) and the loss}."""
        model, size = self.asked.model, min(self.batch_size, len(self.images.labels))
        return {
            name: Surface(logits_fn, model.variables, *self.images, batch_size=size)
            for name, logits_fn in self.logits_fns.items()
        }

    def checksum(self) -> str:
        """Of the images."""
        return loading.checksum(self.images)

    @property
    def settings(self) -> dict[str, Any]:
        """What every piece depends on."""
        return {
            "data": self.asked.model.spec.name,
            "split": "train",
            "images": self.wanted.images,
            "batch": self.batch_size,
            "batch norm": " and ".join(self.logits_fns),
            "seed": self.asked.model.seed,
            "precision": "float32, highest",
        }

    @property
    def of(self) -> str:
        """What the means are over, for captions."""
        return f"{len(self.images.labels):,} training images"

    def notes(self) -> Iterator[Item]:
        """How many images there are, what they are, and how batch norm is treated."""
        count, total = len(self.images.labels), len(self.asked.model.training_images.labels)
        yield Size(count)
        yield f"Means over {count:,} of {total:,} training images, the same for every model."
        if "batch" in self.logits_fns:
            yield (
                "Batch norm by the running statistics (evaluation), and by those of fixed batches "
                f"of {self.batch_size} of these images (batch), as in training."
            )

    def cost(self, *, forwards: float = 0, products: float = 0) -> Cost:
        """Of so many passes over all images, for each treatment."""
        images = self.wanted.images * len(self.logits_fns)
        return Cost(images * forwards, images * products * GRADIENTS_A_PRODUCT)
