"""The Wide-ResNet of SADA-JEM, as released: where it differs from Flax's habits, a comment says so.

Pre-activation blocks, LeakyReLU(0.2), biased convolutions, the stride on a block's *second*
convolution, PyTorch's padding and PyTorch's initial distribution (PAPER: Zagoruyko and Komodakis
2016; SADA-JEM's released code for the rest).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from sadajem_jax.batch_norm import BatchNorm, Groups

LEAKY_SLOPE = 0.2

Activate = Callable[[jax.Array, str], jax.Array]
"""(x, name) -> x normalised and activated."""


def torch_uniform(fan_in: int) -> nn.initializers.Initializer:
    """U(+-1/sqrt(fan_in)), PyTorch's default for kernels *and* biases; variance 1 / (3 fan_in).

    Flax's default (LeCun normal kernels, zero biases) has three times that variance.
    """

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, tuple(shape), dtype, -bound, bound)

    return init


class WideResNet(nn.Module):
    """Wide-ResNet(depth, width) -> logits.

    Attributes:
      depth: layers, 6 n + 4 (n blocks a stage).
      width: widening factor; stages have 16, 32, 64 (and at 64 pixels 128) times it channels.
      num_classes: C, the number of logits.
      norm: "batch" or "none".
      dtype: of the convolutions' inputs and outputs; moments, norms and logits stay float32.
      param_dtype: of the parameters and running statistics.

    Raises:
      ValueError: if depth is not 6 n + 4 or norm is unknown.
    """

    depth: int
    width: int
    num_classes: int
    norm: str = "batch"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, groups: Groups = ()) -> jax.Array:
        """Logits [B, C] of images [B, H, W, channels] in [-1, 1].

        With `train=True` a batch is normalised by its own moments, so its rows are coupled; each
        group of rows by those of the group, if sizes of several are given.
        """
        blocks = blocks_per_stage(self.depth)
        activate = functools.partial(self._activate, train=train, groups=groups)
        x = self._conv(x.astype(self.dtype), 16, 3, 1, "conv1")
        for stage in range(4 if x.shape[1] == 64 else 3):  # ImageNet at 64 pixels has a fourth
            for block in range(blocks):
                features = (16 << stage) * self.width
                stride = 2 if stage > 0 and block == 0 else 1
                x = self._block(x, features, stride, activate, f"layer{stage + 1}_{block}")
        x = activate(x, "bn1")
        x = jnp.mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=(1, 2))
        return self._linear(x)

    def _block(
        self, x: jax.Array, features: int, stride: int, activate: Activate, name: str
    ) -> jax.Array:
        out = activate(x, f"{name}_bn1")
        out = self._conv(out, features, 3, 1, f"{name}_conv1")
        out = activate(out, f"{name}_bn2")
        out = self._conv(out, features, 3, stride, f"{name}_conv2")  # the stride is on the second
        if stride != 1 or x.shape[-1] != features:
            x = self._conv(x, features, 1, stride, f"{name}_shortcut")  # of the block's raw input
        return x + out

    def _activate(self, x: jax.Array, name: str, *, train: bool, groups: Groups) -> jax.Array:
        if self.norm == "batch":
            norm = BatchNorm(dtype=self.dtype, param_dtype=self.param_dtype, name=name)
            x = norm(x, train, groups)
        elif self.norm != "none":
            raise ValueError(f'norm must be "batch" or "none", found {self.norm!r}')
        return nn.leaky_relu(x, LEAKY_SLOPE)

    def _conv(self, x: jax.Array, features: int, size: int, stride: int, name: str, still=True) -> jax.Array:
        init = torch_uniform(size * size * x.shape[-1])
        return nn.Conv(
            features,
            (size, size),
            (stride, stride),
            padding=size // 2,  # on both sides; Flax's SAME pads 0 and 1 at stride 2
            kernel_init=init,
            bias_init=init,
            promote_dtype=_promoted if still else promote_dtype,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name=name,
        )(x)

    def _linear(self, x: jax.Array) -> jax.Array:
        init = torch_uniform(x.shape[-1])
        return nn.Dense(
            self.num_classes,
            kernel_init=init,
            bias_init=init,
            dtype=x.dtype,
            param_dtype=self.param_dtype,
            name="class_output",
        )(x)


def _promoted(x, kernel, bias, *, dtype):
    x, kernel, bias = promote_dtype(x, kernel, bias, dtype=dtype)
    return x, kernel, jax.lax.stop_gradient(bias)


def blocks_per_stage(depth: int) -> int:
    """N of depth = 6 n + 4; raises ValueError for any other depth.

    Examples:
      >>> blocks_per_stage(28)
      4
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth must be 6 n + 4 (10, 16, 22, 28, ...), found {depth}")
    return (depth - 4) // 6
