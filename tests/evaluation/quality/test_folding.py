"""Batch norm folded into the convolution before it."""

from __future__ import annotations

import numpy as np

from sadajem_jax.evaluation.quality import folding


def test_one_convolution_does_what_two_layers_did() -> None:
    """A product with the folded kernel, plus its bias, is the product normalised after it."""
    rng = np.random.default_rng(0)
    kernel, x = rng.normal(size=(5, 7)), rng.normal(size=(11, 5))
    norm = {leaf: rng.uniform(0.5, 2, 7) for leaf in ("weight", "bias", "running_mean")}
    norm["running_var"] = rng.uniform(0.001, 2, 7)  # near epsilon, which must be inside the root
    deviation = np.sqrt(norm["running_var"] + 1e-3)
    expected = (x @ kernel - norm["running_mean"]) / deviation * norm["weight"] + norm["bias"]
    folded, bias = folding.fold(kernel, norm)
    np.testing.assert_allclose(x @ folded + bias, expected, rtol=1e-12)
