"""How sharp a minimum is, in numbers: curvature, and what SAM's step does to energy and loss."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.landscape import hessian
from sadajem_jax.evaluation.landscape.batches import Heard
from sadajem_jax.evaluation.landscape.counting import counter
from sadajem_jax.evaluation.landscape.hessian import Spectrum, Trace
from sadajem_jax.evaluation.landscape.surface import Surface
from sadajem_jax.sharpness_aware import sam_gradient


class Sharpness(NamedTuple):
    """Of the mean energy or the mean loss over the images, in nats.

    Attributes:
      spectrum: the ends of the Hessian's spectrum.
      trace: the Hessian's trace, estimated.
      sam_rise: L(theta + eps) - L(theta) at SAM's eps, that of L's own gradient on these images.
    """

    spectrum: Spectrum
    trace: Trace
    sam_rise: float


def sharpness(
    surface: Surface,
    quantity: str,
    key: jax.Array,
    *,
    eigenvalues: int,
    lanczos_steps: int,
    trace_probes: int,
    rho: float,
    adaptive: bool = False,
    progress: Advance | None = None,
) -> Sharpness:
    """All numbers of one quantity.

    Args:
      surface: E(theta) and the loss.
      quantity: "energy" or "loss".
      key: of Lanczos' first vector and the trace's probes.
      eigenvalues: the largest that are wanted.
      lanczos_steps: Hessian products that they are found with.
      trace_probes: Hessian products that the trace is estimated with, at least 2.
      rho: radius of SAM's ball.
      adaptive: ASAM's ball, scaled by |theta|.
      progress: is told how many images of all passes are done.
    """
    passes = passes_of(lanczos_steps, trace_probes)
    heard = counter(progress, surface.count * (passes.products + passes.forwards))

    def product(vector: jax.Array) -> jax.Array:
        return surface.curvature(quantity, vector, heard)[1]

    keys = jax.random.split(key)
    found = hessian.spectrum(
        product, surface.theta, keys[0], count=eigenvalues, steps=lanczos_steps
    )
    estimated = hessian.trace(product, surface.theta, keys[1], probes=trace_probes)
    return Sharpness(found, estimated, sam_rise(surface, quantity, rho, adaptive, heard))


def sam_rise(
    surface: Surface,
    quantity: str,
    rho: float,
    adaptive: bool = False,
    heard: Heard | None = None,
) -> float:
    """L(theta + eps) - L(theta), eps as `sharpness_aware.sam_gradient` makes it of L's gradient."""
    gradient, _ = surface.curvature(quantity, jnp.zeros_like(surface.theta), heard)
    # SAM's norm runs over all parameters together: of the vector it is the same
    perturbed = sam_gradient(surface.theta, gradient, lambda there: there, rho, adaptive=adaptive)[
        0
    ]
    before, after = surface.values(heard=heard), surface.values(perturbed, heard)
    return getattr(after, quantity) - getattr(before, quantity)


class Work(NamedTuple):
    """Passes over all images: Hessian products (a gradient is made as one), and forwards."""

    products: int
    forwards: int


def passes_of(lanczos_steps: int, trace_probes: int) -> Work:
    """What the sharpness of one quantity takes, at most."""
    return Work(lanczos_steps + trace_probes + 1, 2)
