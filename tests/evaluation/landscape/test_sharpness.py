"""Lines, planes and sharpness against closed forms, and against a network's whole Hessian."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from sadajem_jax.evaluation.landscape.directions import filter_normalised
from sadajem_jax.evaluation.landscape.lines import lines
from sadajem_jax.evaluation.landscape.plane import plane
from sadajem_jax.evaluation.landscape.sharpness import passes_of, sam_rise, sharpness
from sadajem_jax.evaluation.landscape.surface import QUANTITIES, Surface
from tests.evaluation.landscape.networks import (
    FLOATS,
    LABELS,
    quadratic,
    symmetric,
    tiny,
    tiny_variables,
    whole,
)

pytestmark = pytest.mark.usefixtures("x64")

KEY = jax.random.key(5)
RHO = 0.3


def bowl(size: int = 6) -> tuple[np.ndarray, Surface, np.ndarray]:
    """A quadratic of a matrix and a bias: its matrix, surface and theta."""
    kernel = np.random.default_rng(3).normal(size=(size - 2, 1))
    params = {"bias": np.array([0.5, -1.0]), "kernel": kernel}
    matrix = symmetric(size)
    return matrix, quadratic(matrix, params), np.concatenate([[0.5, -1.0], kernel[:, 0]])


def test_lines_through_a_quadratic_are_parabolas() -> None:
    """E(theta + a d) is the quadratic's own, and at a = 0 the energy of the parameters."""
    matrix, surface, theta = bowl()
    found = lines(surface, KEY, directions=3, points=7, span=0.7)
    np.testing.assert_allclose(found.steps, np.linspace(-0.7, 0.7, 7), atol=1e-15)
    for i, energies in enumerate(found.energy):
        drawn = filter_normalised(jax.random.fold_in(KEY, i), surface.params)
        d = np.concatenate([drawn["bias"], drawn["kernel"][:, 0]])
        expected = [(theta + a * d) @ matrix @ (theta + a * d) / 2 for a in found.steps]
        np.testing.assert_allclose(energies, expected, rtol=1e-12)
    np.testing.assert_array_equal(found.energy[:, 3], surface.values().energy)
    np.testing.assert_allclose(found.energy[0, 3], theta @ matrix @ theta / 2, rtol=1e-12)


def test_the_planes_axes_are_the_first_two_lines() -> None:
    """The middle row is the first line, the middle column the second, the corners both at once."""
    matrix, surface, theta = bowl()
    found = plane(surface, KEY, grid=5, span=1.0)
    along = lines(surface, KEY, directions=2, points=5, span=1.0)
    np.testing.assert_allclose(found.energy[2], along.energy[0], rtol=1e-12)
    np.testing.assert_allclose(found.energy[:, 2], along.energy[1], rtol=1e-12)
    keys = [jax.random.fold_in(KEY, i) for i in range(2)]
    d, e = (np.asarray(surface.flat(filter_normalised(k, surface.params))) for k in keys)
    there = theta - d + e
    np.testing.assert_allclose(found.energy[4, 0], there @ matrix @ there / 2, rtol=1e-12)


def test_sams_rise_on_a_quadratic() -> None:
    """It is rho |g| + rho^2 g'Hg / 2 |g|^2; with ASAM's ball the same along |theta|^2 g."""
    matrix, surface, theta = bowl()
    g = matrix @ theta
    expected = RHO * np.linalg.norm(g) + RHO**2 * (g @ matrix @ g) / (2 * g @ g)
    np.testing.assert_allclose(sam_rise(surface, "energy", RHO), expected, rtol=1e-9)
    eps = RHO * theta**2 * g / np.linalg.norm(np.abs(theta) * g)
    expected = g @ eps + eps @ matrix @ eps / 2
    found = sam_rise(surface, "energy", RHO, adaptive=True)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_quadratics_spectrum_and_trace() -> None:
    """Eigenvalues and lowest are the matrix's; the trace is within four standard errors."""
    matrix, surface, _ = bowl()
    found = sharpness(
        surface, "energy", KEY, eigenvalues=2, lanczos_steps=6, trace_probes=50, rho=RHO
    )
    true = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(found.spectrum.largest, true[:-3:-1], rtol=1e-9)
    np.testing.assert_allclose(found.spectrum.lowest, true[0], rtol=1e-9)
    assert abs(found.trace.mean - np.trace(matrix)) < 4 * found.trace.stderr


@pytest.mark.parametrize("train", [False, True])
def test_a_networks_sharpness_is_that_of_its_whole_hessian(train: bool) -> None:
    """Of energy and of loss, with either batch norm: numpy's eigenvalues, trace, and SAM's rise."""
    surface = Surface(tiny(train), tiny_variables(), FLOATS, LABELS, batch_size=6)
    sizes: dict[str, Any] = {"eigenvalues": 3, "lanczos_steps": 30, "trace_probes": 20}
    for quantity in QUANTITIES:
        at, theta, g, matrix = whole(quantity, train, 6)
        found = sharpness(surface, quantity, KEY, **sizes, rho=RHO)
        true = np.linalg.eigvalsh(matrix)
        np.testing.assert_allclose(found.spectrum.largest, true[:-4:-1], rtol=1e-6)
        np.testing.assert_allclose(found.spectrum.lowest, true[0], rtol=1e-6, atol=1e-9)
        assert abs(found.trace.mean - np.trace(matrix)) < 4 * found.trace.stderr
        rise = at(theta + RHO * g / np.linalg.norm(g)) - at(theta)
        np.testing.assert_allclose(found.sam_rise, rise, rtol=1e-8)


def test_progress_ends_with_all_that_was_promised() -> None:
    """The images of all passes, in steps that never go back, and nothing left at the end."""
    told: list[tuple[int, int]] = []
    _, surface, _ = bowl()
    sharpness(
        surface,
        "energy",
        KEY,
        eigenvalues=1,
        lanczos_steps=4,
        trace_probes=3,
        rho=RHO,
        progress=lambda done, total: told.append((done, total)),
    )
    work = passes_of(4, 3)
    total = surface.count * (work.products + work.forwards)
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
