"""Eigenvalues and trace of a symmetric matrix that is known by its products with vectors.

Lanczos' iteration is matfree's, each new vector made orthogonal to all before: without that,
rounding shows the largest eigenvalue several times over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from matfree import decomp

Product = Callable[[jax.Array], jax.Array]
"""v [P] -> H v [P], of the type of v; called on concrete arrays, so it may do what it likes."""


class Spectrum(NamedTuple):
    """The ends of a spectrum.

    Attributes:
      largest: [k] the largest eigenvalues, the largest first.
      lowest: the lowest one.
      error: there is a true eigenvalue within this distance of each of `largest`.
    """

    largest: np.ndarray
    lowest: float
    error: float


class Trace(NamedTuple):
    """An estimated trace.

    Attributes:
      mean: the estimate, unbiased.
      stderr: its standard error.
    """

    mean: float
    stderr: float


def spectrum(
    product: Product, like: jax.Array, key: jax.Array, *, count: int, steps: int
) -> Spectrum:
    """The largest eigenvalues, by Lanczos' iteration from a Gaussian vector.

    Memory: `steps` vectors are kept, and twice as many while one is stored.

    Args:
      product: of the matrix.
      like: [P], a vector, for its length and type.
      key: of the first vector.
      count: eigenvalues wanted, at most `steps` and P.
      steps: products; at most P are taken.

    Returns:
      The spectrum's ends. `error` is Lanczos' bound |r| |s_k|, of the residual r and the last
      component of the small matrix's eigenvector s (Parlett 1998, section 13.2).

    Raises:
      ValueError: if so many steps do not find so many eigenvalues.
    """
    steps = min(steps, like.size)
    if not 1 <= count <= steps:
        raise ValueError(f"{steps} steps find 1 to {steps} eigenvalues, asked for {count}")
    first = jax.random.normal(key, like.shape, like.dtype)
    found = _tridiagonal(product, first, steps)
    values, vectors = np.linalg.eigh(np.asarray(found.J_small, np.float64))
    largest = slice(None, -count - 1, -1)
    last = np.abs(vectors[-1, largest])
    error = float(np.linalg.norm(np.asarray(found.residual, np.float64)) * last.max())
    return Spectrum(values[largest], float(values[0]), error)


def trace(product: Product, like: jax.Array, key: jax.Array, *, probes: int) -> Trace:
    """Hutchinson's estimate: the mean of v' H v over vectors v of random signs.

    Its variance is twice the sum of squares beside the diagonal, over the number of probes.

    Args:
      product: of the matrix.
      like: [P], a vector, for its length and type.
      key: of the signs.
      probes: products, at least 2.
    """
    found = []
    for i in range(probes):
        signs = jax.random.rademacher(jax.random.fold_in(key, i), like.shape, like.dtype)
        found.append(float(jnp.vdot(signs, product(signs), precision="highest")))
    return Trace(float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(probes)))


def _tridiagonal(product: Product, first: jax.Array, steps: int) -> Any:
    """Matfree's decomposition, its loop run by Python: a product is many dispatches."""

    def compiled(vector: jax.Array) -> jax.Array:
        with jax.disable_jit(False):
            return product(vector)

    with jax.disable_jit(), jax.default_matmul_precision("highest"):
        decompose = decomp.tridiag_sym(steps, custom_vjp=False)
        return decompose(lambda vector: _HOST.bind(vector, product=compiled), first)


# Matfree traces its products before it runs them. A primitive without a lowering stands in for one:
# when the loop reaches it, it is plain Python on concrete arrays. (`jax.pure_callback` would run it
# on a thread that XLA:CPU waits for, and there dispatching another program may hang.)
_HOST = core.Primitive("host_product")
_HOST.def_impl(lambda vector, *, product: product(vector))
_HOST.def_abstract_eval(lambda vector, *, product: vector)
