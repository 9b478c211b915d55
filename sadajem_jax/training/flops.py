"""Floating-point operations of a training step, as `evaluation.flops` counts them."""

from __future__ import annotations

import flax.linen as nn

from sadajem_jax.evaluation import flops


def forward_equivalents(
    batch_size_px: int, batch_size_label: int, num_sgld_steps: int, rho: float
) -> int:
    """One step's work, in forward passes of one image.

    A chain step costs 2 (forward, and the gradient of the input only) for each of `batch_size_px`
    images. A pass of the objective costs 3 (forward, gradients of inputs and of parameters) for
    each of the data, negative and labelled images; SAM makes two passes, `rho` = 0 one.
    """
    chain = 2 * num_sgld_steps * batch_size_px
    passes = 2 if rho > 0 else 1
    return chain + passes * 3 * (2 * batch_size_px + batch_size_label)


def step_tflop(
    network: nn.Module,
    image_shape: tuple[int, ...],
    batch_size_px: int,
    batch_size_label: int,
    num_sgld_steps: int,
    rho: float = 0.2,
) -> float:
    """Operations of one whole training step, in TFLOP (10^12)."""
    forwards = forward_equivalents(batch_size_px, batch_size_label, num_sgld_steps, rho)
    return forwards * flops.forward(network, image_shape).flop / 1e12
