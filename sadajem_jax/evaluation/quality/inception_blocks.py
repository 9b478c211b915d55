"""The blocks of InceptionV3 as the 2015-12-05 graph has them, under the names of its ports.

Average pools leave the padding out of the mean, and the last block pools by the maximum. Every
convolution carries its batch norm (see `folding`), hence the biases.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

Convolution = Callable[..., jax.Array]
max_pool = functools.partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))
mean_pool = functools.partial(
    nn.avg_pool, window_shape=(3, 3), strides=(1, 1), padding="SAME", count_include_pad=False
)


class Block(nn.Module):
    """What the blocks share: convolutions followed by ReLU, a name, features and a size each.

    Attributes:
      convolution: in the place of XLA's, with the arguments of `jax.lax.conv_general_dilated`.
    """

    convolution: Convolution | None = None

    def unit(
        self,
        x: jax.Array,
        name: str,
        features: int,
        size: int | tuple[int, int] = 1,
        stride: int = 1,
        padding: str = "SAME",
    ) -> jax.Array:
        """ReLU of a convolution that keeps the image's size unless it has a stride."""
        sides = (size, size) if isinstance(size, int) else size
        return nn.relu(
            nn.Conv(
                features,
                sides,
                (stride, stride),
                padding,
                precision=jax.lax.Precision.HIGHEST,
                conv_general_dilated=self.convolution,
                name=name,
            )(x)
        )

    def shrink(self, x: jax.Array, name: str, features: int) -> jax.Array:
        """A convolution that halves the image."""
        return self.unit(x, name, features, 3, stride=2, padding="VALID")

    def fork(self, x: jax.Array, name: str, features: int) -> jax.Array:
        """A row and a column of three, side by side."""
        row, column = (
            self.unit(x, f"{name}a", features, (1, 3)),
            self.unit(x, f"{name}b", features, (3, 1)),
        )
        return jnp.concatenate([row, column], axis=-1)


class BlockA(Block):
    """Mixed_5b to Mixed_5d, 35 pixels."""

    pooled: int = 64

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, 35, 35, any] -> [B, 35, 35, 224 + pooled]."""
        one = self.unit(x, "branch1x1", 64)
        five = self.unit(self.unit(x, "branch5x5_1", 48), "branch5x5_2", 64, 5)
        double = self.unit(self.unit(x, "branch3x3dbl_1", 64), "branch3x3dbl_2", 96, 3)
        double = self.unit(double, "branch3x3dbl_3", 96, 3)
        pool = self.unit(mean_pool(x), "branch_pool", self.pooled)
        return jnp.concatenate([one, five, double, pool], axis=-1)


class BlockB(Block):
    """Mixed_6a, from 35 to 17 pixels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, 35, 35, 288] -> [B, 17, 17, 768]."""
        double = self.unit(self.unit(x, "branch3x3dbl_1", 64), "branch3x3dbl_2", 96, 3)
        double = self.shrink(double, "branch3x3dbl_3", 96)
        parts = [self.shrink(x, "branch3x3", 384), double, max_pool(x)]
        return jnp.concatenate(parts, axis=-1)


class BlockC(Block):
    """Mixed_6b to Mixed_6e, 17 pixels."""

    inner: int = 192

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, 17, 17, 768] -> the same shape."""
        one = self.unit(x, "branch1x1", 192)
        seven = self.unit(
            self.unit(x, "branch7x7_1", self.inner), "branch7x7_2", self.inner, (1, 7)
        )
        seven = self.unit(seven, "branch7x7_3", 192, (7, 1))
        double = self.unit(x, "branch7x7dbl_1", self.inner)
        double = self.unit(double, "branch7x7dbl_2", self.inner, (7, 1))
        double = self.unit(double, "branch7x7dbl_3", self.inner, (1, 7))
        double = self.unit(double, "branch7x7dbl_4", self.inner, (7, 1))
        double = self.unit(double, "branch7x7dbl_5", 192, (1, 7))
        pool = self.unit(mean_pool(x), "branch_pool", 192)
        return jnp.concatenate([one, seven, double, pool], axis=-1)


class BlockD(Block):
    """Mixed_7a, from 17 to 8 pixels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, 17, 17, 768] -> [B, 8, 8, 1280]."""
        three = self.shrink(self.unit(x, "branch3x3_1", 192), "branch3x3_2", 320)
        seven = self.unit(self.unit(x, "branch7x7x3_1", 192), "branch7x7x3_2", 192, (1, 7))
        seven = self.unit(seven, "branch7x7x3_3", 192, (7, 1))
        seven = self.shrink(seven, "branch7x7x3_4", 192)
        return jnp.concatenate([three, seven, max_pool(x)], axis=-1)


class BlockE(Block):
    """Mixed_7b and Mixed_7c, 8 pixels."""

    last: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, 8, 8, any] -> [B, 8, 8, 2048]."""
        one = self.unit(x, "branch1x1", 320)
        three = self.fork(self.unit(x, "branch3x3_1", 384), "branch3x3_2", 384)
        double = self.unit(self.unit(x, "branch3x3dbl_1", 448), "branch3x3dbl_2", 384, 3)
        double = self.fork(double, "branch3x3dbl_3", 384)
        # The published graph pools the last block by the maximum, where the paper takes the mean.
        pool = max_pool(x, strides=(1, 1), padding="SAME") if self.last else mean_pool(x)
        pool = self.unit(pool, "branch_pool", 192)
        return jnp.concatenate([one, three, double, pool], axis=-1)
