"""Filter-normalised directions: as long as the filters, and still where they are told to be."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sadajem_jax.evaluation.landscape.directions import filter_normalised

PARAMS: dict[str, dict[str, np.ndarray]] = {
    "conv": {"kernel": np.random.default_rng(0).normal(size=(3, 3, 5, 7)), "bias": np.arange(7.0)},
    "head": {"kernel": np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)},
    "norm": {"scale": np.full(5, 3.0)},
}


def test_each_filter_is_as_long_as_the_networks() -> None:
    """The norms over all axes but the last are the weights', and types and shapes are kept."""
    drawn = filter_normalised(jax.random.key(0), PARAMS)
    for layer in ("conv", "head"):
        w, d = PARAMS[layer]["kernel"], drawn[layer]["kernel"]
        axes = tuple(range(w.ndim - 1))
        lengths = [np.linalg.norm(x.reshape(-1, x.shape[-1]), axis=0) for x in (w, d)]
        assert d.dtype == w.dtype and len(axes) + 1 == d.ndim
        np.testing.assert_allclose(lengths[1], lengths[0], rtol=1e-6)
        assert np.abs(d - w).max() > 0.1  # as long, and not the same


def test_a_direction_is_gaussian_before_it_is_scaled() -> None:
    """Within a filter the values have mean 0 and a Gaussian's fourth moment."""
    wide = {"kernel": np.ones((200, 200, 2), np.float32)}
    d = filter_normalised(jax.random.key(3), wide)["kernel"].reshape(-1, 2)
    assert np.abs(d.mean(axis=0)).max() < 0.02
    np.testing.assert_allclose(np.mean(d**4, axis=0), 3, rtol=0.06)


def test_biases_and_norms_are_ignored_or_move_along_themselves() -> None:
    """One-dimensional parameters stay by default; "keep" takes their own values."""
    key = jax.random.key(0)
    ignored, kept = filter_normalised(key, PARAMS), filter_normalised(key, PARAMS, "keep")
    assert not ignored["conv"]["bias"].any() and not ignored["norm"]["scale"].any()
    np.testing.assert_array_equal(kept["conv"]["bias"], PARAMS["conv"]["bias"])
    np.testing.assert_array_equal(kept["norm"]["scale"], PARAMS["norm"]["scale"])
    np.testing.assert_array_equal(kept["conv"]["kernel"], ignored["conv"]["kernel"])
    with pytest.raises(ValueError, match="bias_and_norm"):
        filter_normalised(key, PARAMS, "biasbn")


def test_keys_give_other_directions() -> None:
    """One key gives one direction, another key one that is almost at a right angle."""
    first, again, other = (
        filter_normalised(jax.random.key(k), PARAMS)["conv"]["kernel"] for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    cosine = np.sum(first * other) / np.linalg.norm(first) / np.linalg.norm(other)
    assert abs(cosine) < 0.2
