"""Sample quality as a part of an evaluation: each set of images before each network is one piece.

Their names: quality/NETWORK[/SET][/against_SET]. Of their numbers: samples[/SET][/NETWORK]
[/against_SET]/MEASURE, where the buffer, Inception and the training images need no word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sadajem_jax import backend
from sadajem_jax.console import user_folder
from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation import costs
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.parts import Item, Piece, Size
from sadajem_jax.evaluation.quality import (
    efficientnet,
    effort,
    extractors,
    figure,
    judging,
    protocols,
    released,
    sources,
)
from sadajem_jax.evaluation.quality import reference as references
from sadajem_jax.evaluation.quality.extractors import Network
from sadajem_jax.evaluation.quality.judging import Judged
from sadajem_jax.evaluation.quality.reference import References
from sadajem_jax.evaluation.quality.sources import Source

BATCH, CPU_BATCH = 50, 10  # images a device takes at a time; on a CPU, between two signs of life
BIASED = (
    "A Frechet distance, FID too, is too large by about a constant over the number of images: "
    "compare only those of as many."
)


def pieces(asked: Asked) -> Iterator[Piece]:
    """A piece for each set and network, and one of the released protocol for the buffer."""
    judges, kept = networks(asked), References(user_folder.cache())
    real = compared_with(asked)
    for source in judged(asked):
        for network in judges:
            yield Case(asked, source, network, real, kept).piece()
            if source.label == "" and network.is_inception and released.applies(asked):
                yield released.Case(asked, network, kept).piece()


def networks(asked: Asked) -> list[Network]:
    """Inception first, then those asked for beside it."""
    batch = CPU_BATCH if backend.on_cpu() else BATCH
    found = [extractors.of_inception(asked.options.inception, batch)]
    for name in asked.options.features:
        taken = [network.label for network in found]
        if name == efficientnet.NAME:
            found.append(extractors.of_efficientnet(batch))
        else:
            shape = asked.model.image_shape
            found.append(extractors.of_run(name, shape, batch, taken))
    return found


def judged(asked: Asked) -> list[Source]:
    """The sets of images that are judged."""
    found: list[Source] = []
    for name in asked.options.images:
        if name == sources.BUFFER:
            found.append(sources.of_model(asked.model))
        elif name == sources.FRESH:
            found.append(sources.fresh(asked.model, asked.options.fresh_images))
        else:
            found.append(sources.of_file(name, asked.model, [source.label for source in found]))
    return found


def compared_with(asked: Asked) -> Source:
    """The set that they are compared with."""
    name = asked.options.against
    if not name:
        return sources.of_training(asked.model)
    return sources.of_file(name, asked.model, role="against", prefix="against_")


class Case(NamedTuple):
    """A set of images before a network, beside real ones.

    Attributes:
      asked: the evaluation.
      source: what is judged.
      network: by which.
      real: what it is compared with.
      kept: references that cases share.
    """

    asked: Asked
    source: Source
    network: Network
    real: Source
    kept: References

    def piece(self) -> Piece:
        """What an evaluation does."""
        words = ("quality", self.network.label, self.source.label, self.real.label)
        return Piece(
            "/".join(filter(None, words)),
            self.settings(),
            self.run,
            checksum=self.checksum,
            unit="",
            cost=self.cost,
        )

    def prefix(self) -> str:
        """Of the names of its numbers."""
        words = ("samples", self.source.label, self.network.word, self.real.label)
        return "/".join(filter(None, words))

    def settings(self) -> dict[str, Any]:
        """What its numbers depend on; weights and images by their content, see `checksum`."""
        return {
            "data": self.asked.model.spec.name,
            "network": self.network.label,
            "protocol": "all images, of 8 bits",
            "precision": "float32, highest",
            **self.source.settings,
            **self.real.settings,
        }

    def checksum(self) -> str:
        """Of weights and images; raises UserError where they are not there."""
        found = (self.network.checksum, self.source.checksum, self.real.checksum)
        return " ".join(filter(None, found))

    def cost(self) -> Cost:
        """Of drawing the images, of seeing them and the reference, and of the measures."""
        extractor, shape = self.network.extractor, self.asked.model.image_shape
        n, m = self.source.count(), self.real.count()
        unseen = n if self.kept.has(extractor, self.real.images()) else n + m
        return costs.total(
            [
                self.source.cost(),
                effort.of_features(extractor, shape, unseen),
                effort.of_measures(n, min(m, references.KEPT), extractor.dim(shape)),
            ]
        )

    def run(self, progress: Advance) -> Iterator[Item]:
        """Its numbers, notes and picture."""
        judging.check(self.source.count(), self.real.count(), self.network.label)
        extractor = self.network.extractor
        images = self.source.images(progress)
        real = self.kept.of(extractor, self.real.images(progress), progress)
        found = judging.judge(images, extractor, real, progress=progress)
        yield Size(len(images))
        yield from self.notes(found)
        yield from protocols.plain(found, self.prefix())
        shown = self.real.images()[references.kept(real.moments.n)]
        name = self.piece().name.replace("/", "_")
        yield figure.beside(name, images, shown, found, self.network.label)

    def notes(self, found: Judged) -> Iterator[str]:
        """How to read them."""
        n, dim = found.features.shape
        m, total = len(found.real.features), found.real.moments.n
        some = f"; KID, precision, recall, density and coverage with {m:,} of these"
        yield f"Of {self.source.note}, against {self.real.note}{some * (m < total)}."
        if self.source.label == "":
            yield from self.asked.on_buffer()
        yield BIASED
        if n <= dim:
            yield f"{n:,} images span at most {n - 1:,} of {dim:,} features: too few."
        if self.network.note:
            yield self.network.note
