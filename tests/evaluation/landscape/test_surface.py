"""E(theta), the loss and their curvature are the network's own, however the images are chunked."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import batch_norm
from sadajem_jax.evaluation.landscape.surface import QUANTITIES, Surface
from sadajem_jax.evaluation.landscape.treatments import treatments
from tests import places
from tests.evaluation.landscape.networks import (
    FLOATS,
    IMAGES,
    LABELS,
    Tiny,
    mean_of,
    tiny,
    tiny_variables,
    whole,
)

pytestmark = pytest.mark.usefixtures("x64")


def surface(batch_size: int, *, train: bool = False) -> Surface:
    """Of Tiny on all images."""
    return Surface(tiny(train), tiny_variables(), FLOATS, LABELS, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [5, 12, 20])
def test_values_do_not_depend_on_the_chunks(batch_size: int) -> None:
    """With running statistics means are the network's own, with rows left over or to spare."""
    found = surface(batch_size).values()
    for quantity in QUANTITIES:
        expected = mean_of(quantity, tiny())(tiny_variables())
        np.testing.assert_allclose(getattr(found, quantity), expected, rtol=1e-12)


def test_a_batchs_statistics_are_its_own() -> None:
    """With the batch's statistics the means are those of just these batches, and of no others."""
    found = surface(4, train=True).values()
    expected, other = (mean_of("energy", tiny(train=True), n)(tiny_variables()) for n in (4, 12))
    np.testing.assert_allclose(found.energy, expected, rtol=1e-12)
    assert abs(expected - other) > 1e-3


@pytest.mark.parametrize("train", [False, True])
def test_curvature_is_the_hessians(train: bool) -> None:
    """Gradient and Hessian product are those of the whole Hessian, of either batch norm."""
    made = surface(6, train=train)
    vector = jax.random.normal(jax.random.key(2), made.theta.shape)
    for quantity in QUANTITIES:
        expected = whole(quantity, train, 6)
        gradient, product = made.curvature(quantity, vector)
        np.testing.assert_allclose(gradient, expected.gradient, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(product, expected.hessian @ vector, rtol=1e-9, atol=1e-12)


def test_bytes_are_read_as_floats() -> None:
    """Images of 0 to 255 give what they give in [-1, 1], but for float32's rounding."""
    made = Surface(tiny(), tiny_variables(), IMAGES, LABELS, batch_size=12)
    np.testing.assert_allclose(made.values(), surface(12).values(), rtol=1e-6)


def test_vectors_have_the_order_of_the_parameters() -> None:
    """theta, and any pytree made flat, stand in one order; values elsewhere are the network's."""
    made, variables = surface(6), tiny_variables()
    np.testing.assert_array_equal(made.flat(variables["params"]), made.theta)
    moved = jax.tree.map(lambda w: 1.1 * w, variables["params"])
    expected = mean_of("loss", tiny())({**variables, "params": moved})
    np.testing.assert_allclose(made.values(made.flat(moved)).loss, expected, rtol=1e-12)


def test_progress_counts_each_image_once() -> None:
    """What is heard adds up to the images, without those that fill the last batch."""
    heard: list[int] = []
    surface(5).values(heard=heard.append)
    assert heard == [5, 5, 2]


def test_the_treatments_are_the_networks_two_modes() -> None:
    """The one is the network in evaluation mode, the other its training-mode forward."""
    variables = tiny_variables(np.float32)
    x = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (5, 6, 6, 1)), jnp.float32)
    found = treatments(Tiny(), variables)  # type: ignore[arg-type]
    assert list(found) == ["evaluation", "batch"]
    expected: Any = Tiny().apply(variables, x), batch_norm.forward(Tiny(), variables, x)[0]
    for logits_fn, logits in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(logits_fn(variables, x), logits, rtol=1e-6)
    assert list(treatments(Tiny(), {"params": {}})) == ["evaluation"]  # type: ignore[arg-type]


ON_TWO_DEVICES = """
import jax, numpy as np
from sadajem_jax.evaluation.landscape.surface import Surface
from tests.evaluation.landscape.networks import IMAGES, LABELS, tiny, tiny_variables

jax.config.update("jax_enable_x64", True)
assert jax.local_device_count() == 2
args = tiny(train=True), tiny_variables(), IMAGES, LABELS
one = Surface(*args, batch_size=4, devices=jax.local_devices()[:1])
both = Surface(*args, batch_size=4)
np.testing.assert_allclose(both.values(), one.values(), rtol=1e-12)
for a, b in zip(both.curvature("loss", both.theta), one.curvature("loss", one.theta)):
    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)
"""


def test_devices_share_the_batches() -> None:
    """Two devices with a batch to spare give what one does, each by its own batch's statistics."""
    flags = "--xla_force_host_platform_device_count=2"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", ON_TWO_DEVICES],
        cwd=places.ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True,
        timeout=300,
    )
