"""Features over a data set: every image once, in order, under a fingerprint."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation import flops
from sadajem_jax.evaluation.quality import classifier
from sadajem_jax.wide_resnet import WideResNet
from tests.evaluation.quality import drawn


@pytest.mark.parametrize("n", [1, 16, 37])
def test_every_image_once_and_unrounded(n: int) -> None:
    """Features of n images are those of each, in order, whatever the batch; floats stay floats."""
    images = np.random.default_rng(0).uniform(0, 255, (n, 2, 2, 3)).astype(np.float32)
    found = drawn.pixels()(images)
    np.testing.assert_array_equal(found["features"], images.reshape(n, -1))
    as_bytes = images.astype(np.uint8)
    np.testing.assert_array_equal(drawn.pixels()(as_bytes)["features"], as_bytes.reshape(n, -1))


def test_a_fingerprint_is_of_name_and_weights() -> None:
    """Equal extractors have equal fingerprints; another weight or network has another."""
    prints = [
        drawn.pixels().fingerprint,
        drawn.pixels(weights=2).fingerprint,
        drawn.pixels(name="other").fingerprint,
    ]
    assert len(set(prints)) == 3
    assert drawn.pixels().fingerprint == prints[0]


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((4, 3, 8, 8), np.uint8),
        np.full((4, 8, 8, 3), -0.5, np.float32),
        np.full((4, 8, 8, 3), np.nan, np.float32),
        np.zeros((4, 8, 8, 3), np.int32),
    ],
    ids=["no channels", "channels first", "of -1 to 1", "nan", "integers"],
)
def test_what_is_no_image_of_bytes_is_refused(images: np.ndarray) -> None:
    """Another layout, range or kind raises instead of giving features of something else."""
    with pytest.raises(ValueError, match="expected"):
        drawn.pixels()(images)


def test_a_classifiers_features_are_what_its_last_layer_sees() -> None:
    """The last layer's product with them gives the logits that the network itself gives."""
    network = WideResNet(10, 1, 7)
    key = jax.random.key(0)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    variables = jax.jit(network.init)(key, images / np.float32(127.5) - 1)
    found = classifier.extractor(network, variables, batch_size=3)(images)
    logits = jax.jit(network.apply)(variables, images / np.float32(127.5) - 1)
    assert found["features"].shape == (5, 64)
    head = variables["params"]["class_output"]
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
    product = found["features"] @ np.asarray(head["kernel"]) + head["bias"]
    np.testing.assert_allclose(product, logits, atol=1e-5)


def test_says_how_far_it_is_and_what_it_takes() -> None:
    """Every batch is told; operations are the network's own; grey images are refused in a line."""
    network = WideResNet(10, 1, 7)
    variables = jax.jit(network.init)(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    extractor = classifier.extractor(network, variables, name="mine", batch_size=4)
    told: list[tuple[int, int]] = []
    extractor(np.zeros((9, 8, 8, 3), np.uint8), lambda *at: told.append(at))
    assert told == [(4, 9), (8, 9), (9, 9)]
    assert extractor.flop((8, 8, 3)) == flops.forward(network, (8, 8, 3)).flop
    assert extractor.dim((8, 8, 3)) == 64 and extractor.name == "mine"
    with pytest.raises(UserError, match=r"mine sees images of 3 channels, found \[9, 8, 8, 1\]"):
        extractor(np.zeros((9, 8, 8, 1), np.uint8))
    assert extractor.seconds((8, 8, 3)) == extractor.seconds((8, 8, 3)) > 0  # timed once
