"""What an evaluation was asked for, and what it is done on: the one argument of every part."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation import networks
from sadajem_jax.evaluation.networks import Logits
from sadajem_jax.evaluation.options import Options
from sadajem_jax.evaluation.parts import Size
from sadajem_jax.evaluation.passes import Passes
from sadajem_jax.inference.model import Model

SHUFFLE = 20_230_618  # always the same images


class Asked(NamedTuple):
    """What an evaluation was asked for.

    Attributes:
      model: what is evaluated.
      passes: its passes over the images.
      workdir: W of its run.
      settings: of its run, one flat dict.
      options: the `eval` section.
      data_dir: the folder of prepared data sets; None: where tensorflow-datasets keeps them.
    """

    model: Model
    passes: Passes
    workdir: pathlib.Path
    settings: Mapping[str, Any]
    options: Options
    data_dir: str | None

    @property
    def on_test(self) -> dict[str, Any]:
        """The settings of all that is judged on the test set."""
        return {"data": self.model.spec.name, "split": "test", "precision": "float32, highest"}

    @property
    def test_size(self) -> Size:
        """Of the test set."""
        return Size(len(self.passes.test.labels), self.model.spec.num_test)

    @property
    def logits_fn(self) -> Logits:
        """The model's network as a pure function, in float32, in evaluation mode."""
        return networks.logits_fn(self.model.network)

    def on_buffer(self) -> Iterator[str]:
        """A note where no chain ran in training: the buffer is then no work of the model's."""
        if not (self.settings["objective.px_weight"] > 0 and self.settings["sgld.num_steps"] > 0):
            yield (
                "The training ran no chains: the replay buffer holds the starts that it was filled "
                "with, and its numbers and pictures are theirs."
            )

    def subset(self, count: int) -> Images:
        """The first of the test images in an order by chance, but always the same.

        All where there are fewer than `count`; a smaller subset is the start of a larger one.
        """
        test = self.passes.test
        order = np.random.default_rng(SHUFFLE).permutation(len(test.labels))[:count]
        return Images(test.images[order], test.labels[order])
