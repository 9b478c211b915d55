"""The count of operations: closed forms, whatever the program is made of."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from sadajem_jax import batch_norm
from sadajem_jax.evaluation import flops
from sadajem_jax.evaluation.flops import Count
from sadajem_jax.training.flops import forward_equivalents, step_tflop
from sadajem_jax.wide_resnet import WideResNet

A = jax.ShapeDtypeStruct((4, 4), jnp.float32)


def wide_resnet(depth: int, width: int, pixels: int, num_classes: int = 10) -> Count:
    """Operations and convolutions' outputs of a forward of one image, layer by layer."""
    flop = outputs = 0

    def conv(kernel: int, before: int, after: int, size: int) -> None:
        nonlocal flop, outputs
        flop += 2 * kernel**2 * before * after * size**2
        outputs += after * size**2

    size, before = pixels, 16
    conv(3, 3, 16, size)
    for stage in range(4 if pixels == 64 else 3):
        after = (16 << stage) * width
        for block in range((depth - 4) // 6):
            small = size // 2 if stage > 0 and block == 0 else size
            conv(3, before, after, size)  # the stride is on the second
            conv(3, after, after, small)
            if small != size or before != after:
                conv(1, before, after, small)
            size, before = small, after
    return Count(flop + 2 * before * num_classes, outputs)


def test_wrn_28_10_takes_11_90_gflop_a_forward() -> None:
    """The stride on the second convolution gives 11.90 GFLOP at 32 pixels."""
    found = flops.forward(WideResNet(28, 10, 10), (32, 32, 3)).flop
    assert found == pytest.approx(11.90e9, abs=0.005e9)


@pytest.mark.parametrize("pixels", [8, 32, 64])
@pytest.mark.parametrize("depth, width", [(10, 1), (16, 4)])
def test_a_forward_is_the_sum_of_its_layers(depth: int, width: int, pixels: int) -> None:
    """Operations and convolutions' outputs are the closed forms, at 64 pixels with four stages."""
    found = flops.forward(WideResNet(depth, width, 10), (pixels, pixels, 3))
    assert found == wide_resnet(depth, width, pixels)


@pytest.mark.parametrize("norm, dtype", [("none", jnp.float32), ("batch", jnp.bfloat16)])
def test_norm_and_precision_do_not_count(norm: str, dtype: Any) -> None:
    """Without norms, or in bfloat16, a forward counts the same."""
    network = WideResNet(10, 1, 10, norm, dtype)
    assert flops.forward(network, (32, 32, 3)) == wide_resnet(10, 1, 32)


def test_any_network_is_counted() -> None:
    """A network that is no Wide-ResNet: a grouped, strided convolution and a linear layer."""

    class Other(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
            x = nn.Conv(8, (3, 5), 2, feature_group_count=2)(x)
            return nn.Dense(7)(x.reshape(len(x), -1))

    conv, linear = 2 * (3 * 5 * 2) * (8 * 3 * 4), 2 * (8 * 3 * 4) * 7
    assert flops.forward(Other(), (6, 8, 4)) == Count(conv + linear, 8 * 3 * 4)


@jax.custom_jvp
def squared(a: jax.Array) -> jax.Array:
    """A @ a, with a derivative of its own."""
    return a @ a


squared.defjvps(lambda tangent, _, a: tangent @ a + a @ tangent)


@pytest.mark.parametrize(
    "fn, times",
    [
        (jax.jit(lambda a: a @ a), 1),
        (jax.checkpoint(lambda a: a @ a), 1),
        (squared, 1),
        (lambda a: jax.lax.scan(lambda x, _: (x @ a, None), a, length=5), 5),
        (lambda a: jax.lax.scan(lambda x, _: (jax.jit(squared)(x), None), a, length=5), 5),
        (lambda a: jax.lax.fori_loop(0, 6, lambda _, x: x @ a, a), 6),
        (lambda a: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ a, a), 1),
        (lambda a: jax.lax.cond(a.sum() < 9, lambda x: x @ x @ x, lambda x: x @ x, a), 2),
        (lambda a: jax.vmap(lambda row: row @ a)(a), 1),
        (lambda a: a + 1, 0),
    ],
)
def test_products_are_found_inside_programs(fn: Any, times: int) -> None:
    """A product counts wherever it stands, in a scan once a step, of branches the costliest."""
    assert flops.count(fn, A).flop == times * 2 * 4**3


def test_a_pass_is_three_forwards_and_a_chain_step_two() -> None:
    """Gradients of a strided network count what `forward_equivalents` says.

    But for the first layer, whose input's gradient a pass does not need.
    """
    network, shape = WideResNet(10, 1, 10), (2, 32, 32, 3)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    one, first = flops.forward(network, shape[1:]).flop, 2 * 27 * 16 * 32**2

    def total(params: Any, x: jax.Array) -> jax.Array:
        return batch_norm.forward(network, {**variables, "params": params}, x)[0].sum()

    def counted(argument: int) -> int:
        return flops.count(jax.grad(total, argnums=argument), variables["params"], images).flop

    variables = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), variables)
    assert counted(1) == 2 * 2 * one
    assert counted(0) == 2 * (3 * one - first)


def test_a_step_counts_2176_forwards_and_without_sam_1408() -> None:
    """K = 5 with batches 64 and 128: 640 for the chain and 768 a pass; rho = 0 runs one pass."""
    assert forward_equivalents(64, 128, 5, rho=0.2) == 640 + 2 * 768
    assert forward_equivalents(64, 128, 5, rho=0.0) == 640 + 768
    found = step_tflop(WideResNet(28, 10, 10), (32, 32, 3), 64, 128, 5)
    assert found == pytest.approx(2176 * 11.90e-3, rel=1e-3)
