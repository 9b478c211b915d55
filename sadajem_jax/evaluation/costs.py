"""What a piece of an evaluation takes: passes of the network, and their time on this device."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from sadajem_jax import backend
from sadajem_jax.evaluation import flops, passes
from sadajem_jax.wide_resnet import WideResNet

TIMED_FLOP = 2e11  # of a batch that is timed on a CPU, where a large one takes long
GRADIENT_FORWARDS = 2  # a forward, and the gradient of the input alone: see `training.flops`


class Cost(NamedTuple):
    """What a piece takes, at most.

    Attributes:
      forwards: passes of one image through the network that is evaluated.
      gradients: passes of one image forward, and back to its input; other gradients and Hessian
        products are counted in these, by their operations.
      flop: operations of other programs.
      seconds: that those take, timed by whoever knows them; 0: at the rate of a forward.
    """

    forwards: float = 0.0
    gradients: float = 0.0
    flop: float = 0.0
    seconds: float = 0.0


def total(costs: Iterable[Cost]) -> Cost:
    """The sum.

    Examples:
      >>> total([Cost(forwards=2), Cost(forwards=1, seconds=3.0)])
      Cost(forwards=3.0, gradients=0.0, flop=0.0, seconds=3.0)
    """
    return Cost(*(float(sum(values)) for values in zip(Cost(), *costs, strict=True)))


class Speeds:
    """How fast this device takes images through a network, timed when first asked for.

    Args:
      network: (x [B, H, W, channels], train) -> logits [B, C].
      variables: what `network.apply` takes.
      image_shape: (H, W, channels).
      batch_size: images a device takes at a time.
    """

    def __init__(
        self, network: WideResNet, variables: Any, image_shape: tuple[int, ...], batch_size: int
    ) -> None:
        self._network, self._variables, self._shape = network, variables, image_shape
        self.forward_flop = flops.forward(network, image_shape).flop
        most = int(TIMED_FLOP / self.forward_flop) if backend.on_cpu() else batch_size
        self._batch_size = max(passes.GRADIENT_SHARE, min(batch_size, most))

    def flop(self, cost: Cost) -> float:
        """Operations of a cost."""
        forwards = cost.forwards + GRADIENT_FORWARDS * cost.gradients
        return forwards * self.forward_flop + cost.flop

    def seconds(self, cost: Cost) -> float:
        """What a cost takes on this device."""
        forwards = cost.forwards + (0.0 if cost.seconds else cost.flop / self.forward_flop)
        found = cost.seconds + (forwards * self._forward if forwards else 0.0)
        return found + (cost.gradients * self._gradient if cost.gradients else 0.0)

    @functools.cached_property
    def _forward(self) -> float:
        return self._timed(gradient=False)

    @functools.cached_property
    def _gradient(self) -> float:
        return self._timed(gradient=True)

    def _timed(self, *, gradient: bool) -> float:
        """Seconds an image: of the second of two passes, since the first one compiles."""
        images = np.zeros((self._batch_size, *self._shape), np.uint8)
        for _ in range(2):
            start = time.perf_counter()
            passes.outputs(
                self._network,
                self._variables,
                images,
                batch_size=self._batch_size,
                gradient=gradient,
            )
        return (time.perf_counter() - start) / len(images)
