"""The Wide-ResNet of SADA-JEM, as released: where it differs from Flax's habits, a comment says so.

Pre-activation blocks, LeakyReLU(0.2), biased convolutions, the stride on a block's *second*
convolution, PyTorch's padding and PyTorch's initial distribution (PAPER: Zagoruyko and Komodakis
2016; SADA-JEM's released code for the rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from sadajem_jax.batch_norm import BatchNorm
from sadajem_jax.row_groups import Groups

LEAKY_SLOPE = 0.2


def torch_uniform(fan_in: int) -> nn.initializers.Initializer:
    """U(+-1/sqrt(fan_in)), PyTorch's default for kernels *and* biases; variance 1 / (3 fan_in).

    Flax's default (LeCun normal kernels, zero biases) has three times that variance.
    """

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        bound = fan_in**-0.5
        return jax.random.uniform(key, tuple(shape), dtype, -bound, bound)

    return init


class Mode(NamedTuple):
    """Of a forward: whether it is one of training, and the groups that are normalised apart."""

    train: bool
    groups: Groups


class WideResNet(nn.Module):
    """Wide-ResNet(depth, width) -> logits.

    Attributes:
      depth: layers, 6 n + 4 (n blocks a stage).
      width: widening factor; stages have 16, 32, 64 (and at 64 pixels 128) times it channels.
      num_classes: C, the number of logits.
      norm: "batch" or "none".
      dtype: of the convolutions' inputs and outputs; moments, norms and logits stay float32.
      param_dtype: of the parameters and running statistics.
      convolution: another form of `jax.lax.conv_general_dilated`.
      promote: another form of Flax's `promote_dtype` of (x, kernel, bias), where a bias counts.

    Raises:
      ValueError: if depth is not 6 n + 4 or norm is unknown.
    """

    depth: int
    width: int
    num_classes: int
    norm: str = "batch"
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32
    convolution: Any = None
    promote: Any = promote_dtype

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, groups: Groups = ()) -> jax.Array:
        """Logits [B, C] of images [B, H, W, channels] in [-1, 1].

        With `train=True` a batch is normalised by its own moments, so its rows are coupled; with
        `groups` (see `row_groups`) each group of its rows by those of the group.
        """
        blocks, mode = blocks_per_stage(self.depth), Mode(train, groups)
        x = self._conv(x.astype(self.dtype), 16, 3, 1, mode, "conv1")
        for stage in range(4 if x.shape[1] == 64 else 3):  # ImageNet at 64 pixels has a fourth
            for block in range(blocks):
                features = (16 << stage) * self.width
                stride = 2 if stage > 0 and block == 0 else 1
                x = self._block(x, features, stride, mode, f"layer{stage + 1}_{block}")
        x = self._activate(x, mode, "bn1")
        x = jnp.mean(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=(1, 2))
        return self._linear(x)

    def _block(self, x: jax.Array, features: int, stride: int, mode: Mode, name: str) -> jax.Array:
        out = self._activate(x, mode, f"{name}_bn1")
        out = self._conv(out, features, 3, 1, mode, f"{name}_conv1")
        out = self._activate(out, mode, f"{name}_bn2")
        out = self._conv(out, features, 3, stride, mode, f"{name}_conv2")  # where the stride is
        if stride != 1 or x.shape[-1] != features:
            x = self._conv(x, features, 1, stride, mode, f"{name}_shortcut")  # of the raw input
        return x + out

    def _activate(self, x: jax.Array, mode: Mode, name: str) -> jax.Array:
        if self.norm == "batch":
            norm = BatchNorm(dtype=self.dtype, param_dtype=self.param_dtype, name=name)
            x = norm(x, mode.train, mode.groups)
        elif self.norm != "none":
            raise ValueError(f'norm must be "batch" or "none", found {self.norm!r}')
        return nn.leaky_relu(x, LEAKY_SLOPE)

    def _conv(
        self, x: jax.Array, features: int, size: int, stride: int, mode: Mode, name: str
    ) -> jax.Array:
        init = torch_uniform(size * size * x.shape[-1])
        is_idle = mode.train and self.norm == "batch"
        return nn.Conv(
            features,
            (size, size),
            (stride, stride),
            padding=size // 2,  # on both sides; Flax's SAME pads 0 and 1 at stride 2
            kernel_init=init,
            bias_init=init,
            promote_dtype=_with_idle_bias if is_idle else self.promote,
            conv_general_dilated=self.convolution,
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


def _with_idle_bias(*of_conv: Any, **how: Any) -> list[Any]:
    """Flax's `promote_dtype` of (x, kernel, bias) for a convolution whose bias has no gradient.

    A bias adds a constant to a channel. Every norm by the batch's moments subtracts it again, the
    last one for all (shortcuts are 1 x 1: a constant stays one), so its gradient is zero; summing
    it up would be a pass over every output.
    """
    x, kernel, bias = promote_dtype(*of_conv, **how)
    return [x, kernel, jax.lax.stop_gradient(bias)]


def blocks_per_stage(depth: int) -> int:
    """N of depth = 6 n + 4; raises ValueError for any other depth.

    Examples:
      >>> blocks_per_stage(28)
      4
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"depth must be 6 n + 4 (10, 16, 22, 28, ...), found {depth}")
    return (depth - 4) // 6
