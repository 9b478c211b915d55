"""Expectation over transformation: a purified image's logits, averaged over its chains.

Source: Athalye et al. 2018 (arXiv 1707.07397) for the name; Hill, Mitchell and Zhu 2021
(arXiv 2005.13525), section 3, who average logits, in the defence as in the attack's loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
import scipy.special

from sadajem_jax.evaluation.autoattack.batches import POOL
from sadajem_jax.evaluation.robustness.purification.purifier import Purifier


class Ascent(NamedTuple):
    """Where n images stand, and how their loss grows.

    Attributes:
      logits: [n, C] float64, averaged over chains.
      gradient: [n, H, W, channels] float64 and
      exponent: [n]: the gradient of each image's loss is gradient 2^exponent. It may be zero, or no
        number, where the chain has no gradient.
    """

    logits: np.ndarray
    gradient: np.ndarray
    exponent: np.ndarray


class Expectation:
    """A purified classifier, its logits averaged over chains.

    Args:
      purifier: of rows.
      chains: of an image.
    """

    def __init__(self, purifier: Purifier, chains: int) -> None:
        self.purifier, self.chains = purifier, chains

    def portions(self, index: np.ndarray) -> Iterator[np.ndarray]:
        """Numbers of images in portions whose chains fill some batches, an image or more."""
        most = max(1, POOL * self.purifier.placement.size // self.chains)
        return (index[start : start + most] for start in range(0, len(index), most))

    def logits(self, x: np.ndarray, image: np.ndarray, key: jax.Array) -> np.ndarray:
        """Averaged logits of any number of images, [n, C] float64.

        Args:
          x: [n, H, W, channels] float32 in [-1, 1].
          image: [n] the number of each, which its draws are a function of.
          key: of this evaluation.
        """
        parts = [
            self.purifier.trace(x[owner], key, image[owner], number).logits
            for owner, number in self._rows(len(x))
        ]
        return _by_image(np.concatenate(parts), self.chains).mean(axis=1)

    def ascent(
        self,
        x: np.ndarray,
        labels: np.ndarray,
        image: np.ndarray,
        key: jax.Array,
        *,
        through_chain: bool,
    ) -> Ascent:
        """The same with the gradient of -log p(y | x), p = softmax of the averaged logits.

        As many images at a time as the purifier holds the chains of, and at least one.

        Args:
          x: [n, H, W, channels] float32 in [-1, 1], n at least 1.
          labels: [n] int, y.
          image: [n] the number of each.
          key: of this evaluation.
          through_chain: False takes the purifier's backward pass for the identity (BPDA).
        """
        most = max(1, self.purifier.placement.size // self.chains)
        parts = [
            self._ascent(x[at], labels[at], image[at], key, through_chain)
            for at in (slice(start, start + most) for start in range(0, len(x), most))
        ]
        return Ascent(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    def _ascent(
        self,
        x: np.ndarray,
        labels: np.ndarray,
        image: np.ndarray,
        key: jax.Array,
        through_chain: bool,
    ) -> Ascent:
        rows = list(self._rows(len(x)))
        traces = [self.purifier.trace(x[own], key, image[own], chain) for own, chain in rows]
        logits = _by_image(np.concatenate([t.logits for t in traces]), self.chains).mean(axis=1)
        cotangent, exponent = loss_cotangent(logits, labels)
        pulled = [
            self.purifier.pull(trace, cotangent[own] / self.chains, through_chain=through_chain)
            for trace, (own, _) in zip(traces, rows, strict=True)
        ]
        v, more = (
            _by_image(np.concatenate(part), self.chains) for part in zip(*pulled, strict=True)
        )
        gradient, common = summed(v, more)
        return Ascent(logits, gradient, exponent + common)

    def _rows(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each image's chains, as many rows at a time as fit: (which image, which chain)."""
        rows, size = np.arange(count * self.chains), self.purifier.placement.size
        for start in range(0, len(rows), size):
            yield np.divmod(rows[start : start + size], self.chains)


def loss_cotangent(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of -log softmax(z)_y with respect to z, p - onehot(y), however confident z is.

    p_y - 1 is taken as the sum of the other p, which a float64 holds down to 1e-308.

    Args:
      logits: [n, C] float64, z.
      labels: [n] int, y.

    Returns:
      Values [n, C] whose largest is about 1, and exponents [n]: values 2^exponent.

    Examples:
      >>> values, exponent = loss_cotangent(np.array([[400.0, 0.0]]), np.array([0]))
      >>> values.tolist(), float(np.exp(-400.0)) == float(values[0, 1] * 2.0 ** exponent[0])
      ([[-0.94..., 0.94...]], True)
    """
    p = scipy.special.softmax(logits, axis=-1)
    rows = np.arange(len(labels))
    p[rows, labels] = 0
    p[rows, labels] = -p.sum(axis=-1)
    _, exponent = np.frexp(np.abs(p).max(axis=-1))
    return np.ldexp(p, -exponent[:, None]), exponent


def summed(v: np.ndarray, exponent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums v 2^exponent over chains without over- or underflow.

    Args:
      v: [n, r, ...].
      exponent: [n, r] int.

    Returns:
      The sums' values [n, ...] float64, and their exponents [n].

    Examples:
      >>> summed(np.array([[[0.5], [0.5]]]), np.array([[1000, 999]]))
      (array([[0.75]]), array([1000]))
    """
    shape = (*exponent.shape, *(1,) * (v.ndim - 2))
    is_zero = np.all(v == 0, axis=tuple(range(2, v.ndim)))  # whatever its exponent says
    common = np.where(is_zero, np.iinfo(np.int32).min, exponent).max(axis=1)
    common = np.where(is_zero.all(axis=1), 0, common)
    less = np.clip(exponent.astype(np.int64) - common[:, None], -5000, 0)
    return np.ldexp(v.astype(np.float64), less.astype(int).reshape(shape)).sum(axis=1), common


def _by_image(values: np.ndarray, chains: int) -> np.ndarray:
    """[n r, ...] -> [n, r, ...] float64 where they are floats."""
    kept = values.astype(np.float64) if values.dtype.kind == "f" else values
    return kept.reshape(-1, chains, *values.shape[1:])
