"""Passes of a model over images: one over the test set serves all that is judged on it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import augment
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Advance
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation.sharded import ShardedRows
from sadajem_jax.inference import scoring
from sadajem_jax.inference.model import Model
from sadajem_jax.inference.scoring import Outputs
from sadajem_jax.wide_resnet import WideResNet

GRADIENT_SHARE = 4  # a gradient keeps all activations: batches a quarter as large


def outputs(
    network: WideResNet,
    variables: Any,
    images: np.ndarray,
    *,
    batch_size: int,
    gradient: bool = False,
    progress: Advance | None = None,
) -> Outputs:
    """One pass over images, in float32, batch norm in evaluation mode.

    Args:
      network: (x [B, H, W, channels], train) -> logits [B, C].
      variables: {"params": ..., "batch_stats": ...}.
      images: [N, H, W, channels] of 0 to 255, uint8 or floats.
      batch_size: images a device takes at a time, a quarter of it with the gradient.
      gradient: whether the norm of the score is wanted.
      progress: is told how many images are done.
    """
    if gradient:
        batch_size = max(1, batch_size // GRADIENT_SHARE)
        images = np.asarray(images, np.float32)  # means of two have halves: one program for all
    run = _program(network.clone(dtype=jnp.float32), batch_size, gradient)
    return Outputs(**run(variables, images, progress))


@functools.cache
def _program(network: WideResNet, batch_size: int, gradient: bool) -> ShardedRows:
    """Compiled once for all images of a kind, and all variables."""

    def per_row(variables: Any, images: Any) -> dict[str, jax.Array]:
        x = augment.to_float(images)
        if not gradient:
            return scoring.logits(network, variables, x)
        found = scoring.score(network, variables, x)
        return {name: found[name] for name in Outputs._fields}

    return ShardedRows(per_row, batch_size=batch_size)


def require_finite(name: str, values: np.ndarray) -> None:
    """Raises UserError if values [N, ...] of some of the N images are not finite."""
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=-1)
    if bad := int((~finite).sum()):
        raise UserError(f"not finite: {name} of {bad:,} of {len(values):,} images")


class Passes:
    """A model's passes over the images that it is judged on.

    The one over the test set is made when first needed, and kept: accuracy, calibration and
    detection read the same outputs.

    Args:
      model: the model.
      test: () -> the test images; called when first needed.
      held_out: () -> the validation images, or None where none are held out.
      batch_size: images a device takes at a time.
      wants_gradient: () -> whether something still to come asks for the gradient, so that it is
        best taken along in the first pass; asked when that begins.

    Attributes:
      model: as given.
    """

    def __init__(
        self,
        model: Model,
        test: Callable[[], Images],
        *,
        held_out: Callable[[], Images | None] = lambda: None,
        batch_size: int,
        wants_gradient: Callable[[], bool] = lambda: False,
    ) -> None:
        self.model, self._wants_gradient = model, wants_gradient
        self._read_test, self._read_held_out = test, held_out
        self._most = batch_size
        self._on_test: Outputs | None = None

    @functools.cached_property
    def test(self) -> Images:
        """The test images and labels; raises UserError if they are not to be had."""
        return self._read_test()

    def test_checksum(self) -> str:
        """Of the test set: numbers taken on other images are none of this one's."""
        return loading.checksum(self.test)

    @functools.cached_property
    def held_out(self) -> Images | None:
        """The validation images and labels, where there are any."""
        return self._read_held_out()

    @property
    def batch_size(self) -> int:
        """Images a device takes at a time: not above what there are, as padding costs time."""
        each = -(-len(self.test.labels) // jax.device_count())
        return min(self._most, each)

    def on_test(self, *, gradient: bool = False, progress: Advance | None = None) -> Outputs:
        """Outputs on the test set, with the gradient where it is asked for."""
        there = self._on_test
        if there is None or (gradient and there.score_norm is None):
            takes = gradient or self._wants_gradient()
            self._on_test = self.on(self.test.images, gradient=takes, progress=progress)
            return self._on_test
        return there

    def on(
        self, images: np.ndarray, *, gradient: bool = False, progress: Advance | None = None
    ) -> Outputs:
        """Outputs on any other images [N, H, W, channels] of 0 to 255; not kept."""
        return outputs(
            self.model.network,
            self.model.variables,
            images,
            batch_size=self.batch_size,
            gradient=gradient,
            progress=progress,
        )
