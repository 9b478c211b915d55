"""InceptionV3 of 2015-12-05, the network that Inception Score and FID are defined on.

It is the graph that TensorFlow published, as its PyTorch ports name it, and not the InceptionV3 of
the libraries: it has 1008 classes, TensorFlow 1's resize, and the pools of `inception_blocks`.

Sources: Szegedy et al. 2016 (arXiv 1512.00567); the ports pytorch-fid and torch-fidelity.
"""

from __future__ import annotations

import functools
import os
import pathlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.evaluation.quality import folding, weights
from sadajem_jax.evaluation.quality.extractor import Extractor
from sadajem_jax.evaluation.quality.inception_blocks import (
    Block,
    BlockA,
    BlockB,
    BlockC,
    BlockD,
    BlockE,
    Convolution,
    max_pool,
)
from sadajem_jax.evaluation.quality.resize import bilinear

NAME, VERSION = "inception", "1"
SIZE, CLASSES = 299, 1008
PUBLISHED = weights.Published(
    title="the Inception network of 2015-12-05",
    files=(
        "pt_inception-2015-12-05-6726825d.pth",
        "weights-inception-2015-12-05-6726825d.pth",
    ),
    about="about 91 MB, a release file of github.com/mseitzer/pytorch-fid, the second one of "
    "github.com/toshas/torch-fidelity",
    named="get one, and give it or its folder by --config.eval.inception",
)


class InceptionV3(nn.Module):
    """Images -> features after each stage, and logits.

    Attributes:
      convolution: in the place of XLA's, with the arguments of `jax.lax.conv_general_dilated`.
    """

    convolution: Convolution | None = None

    @nn.compact
    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Features and logits.

        Args:
          images: [B, H, W, 1 or 3] of 0..255, uint8 or floating point.

        Returns:
          pool_64, pool_192, pool_768, pool_2048: [B, that many], the means over places after the
          first pool, the second pool, Mixed_6e and Mixed_7c; logits_unbiased [B, 1008], without the
          last layer's bias, of which Inception Score is taken.
        """
        found = {}
        x = Stem(self.convolution, name="stem")(prepared(images))
        x = found["pool_64"] = max_pool(x)
        x = Neck(self.convolution, name="neck")(x)
        x = found["pool_192"] = max_pool(x)
        for letter, pooled in zip("bcd", (32, 64, 64), strict=True):
            x = BlockA(self.convolution, pooled, name=f"Mixed_5{letter}")(x)
        x = BlockB(self.convolution, name="Mixed_6a")(x)
        for letter, inner in zip("bcde", (128, 160, 160, 192), strict=True):
            x = BlockC(self.convolution, inner, name=f"Mixed_6{letter}")(x)
        found["pool_768"] = x
        x = BlockD(self.convolution, name="Mixed_7a")(x)
        x = BlockE(self.convolution, name="Mixed_7b")(x)
        x = found["pool_2048"] = BlockE(self.convolution, last=True, name="Mixed_7c")(x)
        found = {name: jnp.mean(value, axis=(1, 2)) for name, value in found.items()}
        head = nn.Dense(CLASSES, use_bias=False, precision=jax.lax.Precision.HIGHEST, name="fc")
        return found | {"logits_unbiased": head(found["pool_2048"])}


class Stem(Block):
    """From 299 to 147 pixels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, 299, 299, 3] -> [B, 147, 147, 64]."""
        x = self.shrink(x, "Conv2d_1a_3x3", 32)
        x = self.unit(x, "Conv2d_2a_3x3", 32, 3, padding="VALID")
        return self.unit(x, "Conv2d_2b_3x3", 64, 3)


class Neck(Block):
    """From 73 to 71 pixels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, 73, 73, 64] -> [B, 71, 71, 192]."""
        x = self.unit(x, "Conv2d_3b_1x1", 80)
        return self.unit(x, "Conv2d_4a_3x3", 192, 3, padding="VALID")


def prepared(images: jax.Array) -> jax.Array:
    """Images of 0..255 as the network takes them: 299 pixels, three channels, about [-1, 1]."""
    x = images.astype(jnp.promote_types(images.dtype, jnp.float32))
    x = (bilinear(x, SIZE) - 128) / 128
    return jnp.broadcast_to(x, (*x.shape[:-1], 3))


def from_state_dict(state: folding.State, dtype: Any = np.float32) -> dict[str, Any]:
    """The network's variables from a port's state dict.

    Args:
      state: names (`Mixed_5b.branch1x1.conv.weight`, ...) -> arrays in PyTorch's layouts.
      dtype: of the variables.

    Returns:
      For `InceptionV3.apply`.

    Raises:
      UserError: names the first array that is missing, misshapen or of another network.
    """
    return folding.variables(state, _template(), _names, dtype)


@functools.cache
def _template() -> Any:
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    return jax.eval_shape(InceptionV3().init, jax.random.key(0), images)["params"]


def _names(path: tuple[str, ...]) -> tuple[str, str | None]:
    """('Mixed_5b', 'branch1x1') -> 'Mixed_5b.branch1x1.conv' and its batch norm."""
    if path == ("fc",):
        return "fc", None
    name = ".".join(word for word in path if word not in ("stem", "neck"))
    return f"{name}.conv", f"{name}.bn"


def file(path: str | os.PathLike[str] | None) -> pathlib.Path:
    """The file of the weights; raises UserError as `extractor` does where there is none."""
    return weights.find(path, PUBLISHED)


def extractor(path: str | os.PathLike[str] | None, *, batch_size: int = 50) -> Extractor:
    """The network on published weights: "features" are pool_2048, "logits" those without bias.

    Args:
      path: of a published file, of one that `convert` made of it, or of a folder that holds one.
      batch_size: images a device takes at a time.

    Returns:
      The extractor.

    Raises:
      UserError: if the weights are not there (says which, how large, and where people get them),
        not readable without executing what they hold, damaged, or another network's.
    """
    state = weights.read(file(path))
    return Extractor(
        NAME, _per_image, from_state_dict(state), version=VERSION, batch_size=batch_size
    )


def _per_image(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
    found: Any = InceptionV3().apply(variables, images)
    return {"features": found["pool_2048"], "logits": found["logits_unbiased"]}
