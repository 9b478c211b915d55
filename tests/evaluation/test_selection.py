"""The released per-class confidence selection."""

from __future__ import annotations

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from sadajem_jax.evaluation.selection import most_confident
from sadajem_jax.inference import torch_checkpoint
from sadajem_jax.wide_resnet import WideResNet
from tests import places


@pytest.mark.parametrize(
    "path", places.golden_files("select/buffer"), ids=lambda p: p.stem if p else "none"
)
def test_selects_what_the_released_program_selects(path: pathlib.Path | None, x64: None) -> None:
    """The kept slots, and their order, are the released ones for every ratio of the file."""
    arrays = places.opened(path)
    meta = json.loads(str(arrays["meta"]))
    model = WideResNet(
        meta["depth"], meta["width"], meta["n_classes"], meta["norm"], jnp.float64, jnp.float64
    )
    state_dict = {k.removeprefix("model/"): v for k, v in arrays.items() if k.startswith("model/")}
    images = jnp.asarray(np.moveaxis(arrays["select/buffer"], 1, -1), jnp.float64)
    logits = np.asarray(jax.jit(model.apply)(torch_checkpoint.from_state_dict(state_dict), images))
    np.testing.assert_array_equal(logits.argmax(axis=-1), arrays["select/predicted"])
    ratios = [name for name in arrays if name.startswith("select/ratio_")]
    assert ratios
    for name in ratios:
        kept = most_confident(logits, float(name.removeprefix("select/ratio_")))
        np.testing.assert_array_equal(kept, arrays[name])


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.35, 0.9, 1.0])
def test_keeps_the_most_confident_share_of_every_class(ratio: float) -> None:
    """Of n images of a class floor(ratio n) are kept, none less confident than one left out."""
    logits = np.random.default_rng(0).normal(size=(500, 7))
    confidence = scipy.special.softmax(logits, axis=-1).max(axis=-1)
    predicted = logits.argmax(axis=-1)
    kept = most_confident(logits, ratio)
    assert (np.diff(predicted[kept]) >= 0).all()
    for label in range(7):
        members = np.flatnonzero(predicted == label)
        inside = np.intersect1d(members, kept)
        assert len(inside) == int(ratio * len(members))
        left = np.setdiff1d(members, kept)
        if len(inside) and len(left):
            assert confidence[inside].min() >= confidence[left].max()


def test_a_ratio_beyond_one_is_an_error() -> None:
    """A ratio that is no share raises."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        most_confident(np.zeros((3, 2)), 10)
