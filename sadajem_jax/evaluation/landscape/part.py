"""The landscape of a run's model: lines, a plane and sharpness, on a fixed part of its images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.landscape import drawing
from sadajem_jax.evaluation.landscape.counting import share
from sadajem_jax.evaluation.landscape.ground import Ground
from sadajem_jax.evaluation.landscape.lines import Lines, lines
from sadajem_jax.evaluation.landscape.plane import Plane, plane
from sadajem_jax.evaluation.landscape.sharpness import Sharpness, passes_of, sharpness
from sadajem_jax.evaluation.landscape.surface import QUANTITIES, Surface
from sadajem_jax.evaluation.parts import Item, Piece

BIAS_AND_NORM = "ignore"
PAPERS_RHO = 0.2  # for a model trained without SAM, so that it can be compared with one that was


def pieces(asked: Asked) -> Iterator[Piece]:
    """Three pieces on the same images."""
    ground = Ground(asked)
    yield _lines(ground)
    yield _plane(ground)
    yield _sharpness(ground)


def _lines(ground: Ground) -> Piece:
    wanted = ground.wanted

    def run(progress: Advance) -> Iterator[Item]:
        yield from ground.notes()
        found = {
            name: lines(
                surface,
                ground.key,
                directions=wanted.directions,
                points=wanted.points,
                span=wanted.span,
                bias_and_norm=BIAS_AND_NORM,
                progress=share(progress, number, len(ground.surfaces)),
            )
            for number, (name, surface) in enumerate(ground.surfaces.items())
        }
        _require_finite(found, "the lines")
        for name, surface in ground.surfaces.items():
            yield from _of_lines(f"landscape/{name}", surface, found[name])
        yield drawing.of_lines(found, ground.of)

    return Piece(
        "landscape/lines",
        ground.settings | _geometry(wanted, "directions", "points"),
        run,
        checksum=ground.checksum,
        cost=lambda: ground.cost(forwards=wanted.directions * wanted.points + 1),
    )


def _of_lines(prefix: str, surface: Surface, found: Lines) -> Iterator[Item]:
    """Numbers at the parameters themselves, and how far the quantities range on a line."""
    here = surface.values()
    for quantity in QUANTITIES:
        mean, along = getattr(here, quantity), getattr(found, quantity)
        yield f"{prefix}/{quantity}/mean", mean
        yield f"{prefix}/{quantity}/sum", mean * surface.count
        yield f"{prefix}/{quantity}/line_range", float(np.mean(np.ptp(along, axis=1)))


def _plane(ground: Ground) -> Piece:
    wanted = ground.wanted

    def run(progress: Advance) -> Iterator[Item]:
        yield from ground.notes()
        found = {
            name: plane(
                surface,
                ground.key,
                grid=wanted.grid,
                span=wanted.span,
                bias_and_norm=BIAS_AND_NORM,
                progress=share(progress, number, len(ground.surfaces)),
            )
            for number, (name, surface) in enumerate(ground.surfaces.items())
        }
        _require_finite(found, "the plane")
        yield drawing.contours(found, ground.of)
        yield drawing.surfaces(found, ground.of)

    return Piece(
        "landscape/plane",
        ground.settings | _geometry(wanted, "grid"),
        run,
        checksum=ground.checksum,
        cost=lambda: ground.cost(forwards=wanted.grid**2),
    )


def _require_finite(found: Mapping[str, Lines | Plane], where: str) -> None:
    """Raises UserError for lines or a plane that reach where the network leaves the numbers."""
    for name, one in found.items():
        for quantity in QUANTITIES:
            if not np.isfinite(getattr(one, quantity)).all():
                raise UserError(
                    f"the {quantity} ({name}) is no finite number everywhere on {where}; make "
                    "config.eval.landscape.span smaller"
                )


def _geometry(wanted: Any, *names: str) -> dict[str, Any]:
    """The settings of lines and planes."""
    fields = {name: getattr(wanted, name) for name in (*names, "span")}
    return fields | {"biases and norms": BIAS_AND_NORM}


def _sharpness(ground: Ground) -> Piece:
    wanted = ground.wanted
    sam = _sam(ground.asked.settings)
    sizes = {
        name: getattr(wanted, name) for name in ("eigenvalues", "lanczos_steps", "trace_probes")
    }

    def run(progress: Advance) -> Iterator[Item]:
        yield from ground.notes()
        yield _sam_note(ground.asked.settings, sam["rho"])
        each = list(itertools.product(ground.surfaces.items(), QUANTITIES))
        for number, ((name, surface), quantity) in enumerate(each):
            heard, key = share(progress, number, len(each)), _key(ground, quantity)
            found = sharpness(surface, quantity, key, **sizes, **sam, progress=heard)
            yield from _of_sharpness(f"landscape/{name}/{quantity}", found)

    work = passes_of(wanted.lanczos_steps, wanted.trace_probes)
    return Piece(
        "landscape/sharpness",
        ground.settings | sizes | sam,
        run,
        checksum=ground.checksum,
        unit="",
        cost=lambda: ground.cost(
            forwards=len(QUANTITIES) * work.forwards, products=len(QUANTITIES) * work.products
        ),
    )


def _key(ground: Ground, quantity: str) -> jax.Array:
    return jax.random.fold_in(ground.key, QUANTITIES.index(quantity))


def _sam(settings: Mapping[str, Any]) -> dict[str, Any]:
    """SAM's ball, as the run has it."""
    trained = settings["sam.rho"]
    return {"rho": trained or PAPERS_RHO, "adaptive": bool(trained and settings["sam.adaptive"])}


def _sam_note(settings: Mapping[str, Any], rho: float) -> str:
    trained = (
        "as trained" if settings["sam.rho"] else "the paper's, as this model was trained without"
    )
    kind = "ASAM" if settings["sam.rho"] and settings["sam.adaptive"] else "SAM"
    return (
        f"The rise is at {kind}'s step up each quantity's own gradient, rho = {rho:g} ({trained})."
    )


def _of_sharpness(prefix: str, found: Sharpness) -> Iterator[Item]:
    for i, value in enumerate(found.spectrum.largest, start=1):
        yield f"{prefix}/eigenvalue_{i}", float(value)
    yield f"{prefix}/eigenvalue_error", found.spectrum.error
    yield f"{prefix}/eigenvalue_lowest", found.spectrum.lowest
    yield f"{prefix}/trace", found.trace.mean
    yield f"{prefix}/trace_stderr", found.trace.stderr
    yield f"{prefix}/sam_rise", found.sam_rise
