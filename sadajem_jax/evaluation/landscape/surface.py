"""Energy and loss of a network on fixed images, as functions of its parameters.

E(theta) = -logsumexp_y f(x)[y] over the images (Figures 1 and 7), and the classification loss
beside it. The paper sums over the images; here are means, times N the paper's sum.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from sadajem_jax import augment, energy
from sadajem_jax.evaluation.landscape.batches import Batches, Heard, Rows
from sadajem_jax.evaluation.landscape.directions import Params

QUANTITIES = ("energy", "loss")

Logits = Callable[[Any, jax.Array], jax.Array]
"""(variables, x [B, H, W, channels] in [-1, 1]) -> logits [B, C]; pure."""


class Values(NamedTuple):
    """Means over the images, nats an image.

    Attributes:
      energy: of E(x) = -logsumexp_y f(x)[y].
      loss: of the cross-entropy -log p(y | x) of the labels.
    """

    energy: float
    loss: float


class Surface:
    """E(theta) and the loss, their gradients and Hessians, on N images.

    Parameters are one vector here. Everything runs at the `highest` precision, in the parameters'
    type. Two programs are compiled, each when first used; parameters are arguments.

    Args:
      logits_fn: pure; how it treats batch norm is its own affair, see `treatments`.
      variables: what it takes; variables["params"] is theta, all else stays.
      images: [N, H, W, channels], uint8 of 0 to 255, or floats in [-1, 1].
      labels: [N] int.
      batch_size: images a device takes at a time. A `logits_fn` that normalises by the batch's own
        statistics depends on it, and wants it to divide N.
      devices: all local ones by default.

    Attributes:
      params: theta, the pytree as given.
      theta: [P], the same as a vector.
      count: N.
    """

    def __init__(
        self,
        logits_fn: Logits,
        variables: Mapping[str, Any],
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int = 64,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        self._batches = Batches(images, labels, batch_size, devices)
        self.count = self._batches.count
        self.params = variables["params"]
        flat, unravel = ravel_pytree(self.params)
        self.theta = self._batches.replicate(flat)
        self._rest = self._batches.replicate({**variables, "params": None})
        sums = functools.partial(_sums, logits_fn, unravel)
        self._values = self._batches.compile(sums)
        self._curvature = self._batches.compile(functools.partial(_curvature, sums))

    def flat(self, tree: Params) -> jax.Array:
        """[P]: a pytree of the parameters' structure as a vector."""
        leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(tree)]
        return self._batches.replicate(np.concatenate(leaves).astype(self.theta.dtype))

    def values(self, theta: jax.Array | None = None, heard: Heard | None = None) -> Values:
        """Energy and loss at theta [P], by default the network's own; added up in float64."""
        parts = self._batches.each(self._values, (self._rest, self._at(theta)), heard)
        total = np.sum([np.asarray(part, np.float64) for part in parts], axis=0)
        return Values(*(float(x) for x in total / self.count))

    def curvature(
        self, quantity: str, vector: jax.Array, heard: Heard | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The gradient of a quantity's mean, and the product of its Hessian with a vector.

        Args:
          quantity: "energy" or "loss".
          vector: [P].
          heard: is told of each batch.

        Returns:
          (gradient [P], Hessian times vector [P]) at the network's own theta.
        """
        if quantity not in QUANTITIES:
            raise ValueError(f"quantity must be one of {QUANTITIES}, found {quantity!r}")
        chosen = np.array([name == quantity for name in QUANTITIES], np.float32)
        arguments = (self._rest, self.theta), self._at(vector), chosen
        parts = self._batches.each(self._curvature, arguments, heard)
        gradient, product = functools.reduce(_add, parts)
        return gradient / self.count, product / self.count

    def _at(self, vector: jax.Array | None) -> jax.Array:
        return self.theta if vector is None else self._batches.replicate(vector)


def _sums(
    logits_fn: Logits, unravel: Callable[[jax.Array], Params], there: Any, rows: Rows
) -> jax.Array:
    """[2]: energy and loss, summed over a device's rows."""
    rest, theta = there
    x = augment.to_float(rows.images) if rows.images.dtype == jnp.uint8 else rows.images
    with jax.default_matmul_precision("highest"):
        logits = logits_fn({**rest, "params": unravel(theta)}, x)
    each = energy.energy(logits), energy.cross_entropy(logits, rows.labels)
    return jnp.stack([jnp.sum(value * rows.weights) for value in each])


def _curvature(
    sums: Callable[[Any, Rows], jax.Array], arguments: Any, rows: Rows
) -> tuple[jax.Array, jax.Array]:
    """Gradient and Hessian product of what is chosen, forward over reverse (Pearlmutter 1994)."""
    (rest, theta), vector, chosen = arguments

    def total(theta: jax.Array) -> jax.Array:
        # One program for both: the other's weight is 0.
        return jnp.sum(chosen * sums((rest, theta), rows))

    return jax.jvp(jax.grad(total), (theta,), (vector,))


@jax.jit
def _add(left: Any, right: Any) -> Any:
    return jax.tree.map(jnp.add, left, right)
