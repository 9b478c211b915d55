"""The landscape as a part: the names it yields, what they depend on, and what it says it takes."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from sadajem_jax.console.errors import UserError
from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation import flops, networks
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.landscape import part
from sadajem_jax.evaluation.landscape.batches import Rows
from sadajem_jax.evaluation.landscape.ground import GRADIENTS_A_PRODUCT
from sadajem_jax.evaluation.landscape.surface import _curvature, _sums
from sadajem_jax.evaluation.options import Landscape
from sadajem_jax.evaluation.parts import Piece, Size
from sadajem_jax.wide_resnet import WideResNet
from sadajem_jax.workdir.figure import Figure
from tests import models
from tests.evaluation.landscape.networks import IMAGES, LABELS, Tiny, tiny_variables

WANTED = Landscape(
    images=11,
    directions=2,
    points=3,
    grid=3,
    span=0.5,
    eigenvalues=2,
    lanczos_steps=3,
    trace_probes=2,
)


def asked(wanted: Landscape = WANTED, rho: float = 0.2, images: Images | None = None) -> Asked:
    """What the part reads of an evaluation of Tiny, of chains in groups of 4."""
    config = models.settings(train__batch_size_px=4, buffer__reinit_prob=0.5)
    made = models.model_of(config, tiny_variables(np.float32), np.zeros((8, 6, 6, 1)), Tiny())
    made.training_images = images or Images(IMAGES, LABELS)
    options: Any = type("Options", (), {"landscape": wanted})
    settings = {"sam.rho": rho, "sam.adaptive": False}
    nothing: Any = None
    return Asked(made, nothing, pathlib.Path(), settings, options, None)


Told = list[tuple[int, int]]


@pytest.fixture(scope="module")
def told() -> dict[str, Told]:
    """{piece: (done, total) each time that it was told}, when `found` is there."""
    return {}


@pytest.fixture(scope="module")
def found(told: dict[str, Told]) -> dict[str, list[Any]]:
    """{piece: its items}."""

    def items(piece: Piece) -> list[Any]:
        heard = told.setdefault(piece.name, [])
        return list(piece.run(lambda done, total: heard.append((done, total))))

    return {piece.name: items(piece) for piece in part.pieces(asked())}


def numbers(items: list[Any]) -> dict[str, float]:
    """Those of a piece."""
    return {i[0]: i[1] for i in items if type(i) is tuple}


def test_every_number_has_its_name(found: dict[str, list[Any]]) -> None:
    """Both treatments have the same finite numbers of energy and of loss."""
    along = {"mean", "sum", "line_range"}
    sharp = {f"eigenvalue_{x}" for x in ("1", "2", "error", "lowest")}
    sharp |= {"trace", "trace_stderr", "sam_rise"}
    for piece, names in (("lines", along), ("plane", set()), ("sharpness", sharp)):
        values = numbers(found[f"landscape/{piece}"])
        assert set(values) == {
            f"landscape/{treatment}/{quantity}/{name}"
            for treatment in ("evaluation", "batch")
            for quantity in ("energy", "loss")
            for name in names
        }
        assert np.isfinite(list(values.values())).all()


def test_whole_batches_are_looked_at(found: dict[str, list[Any]]) -> None:
    """Of 11 images in batches of 4 there are 8, which size, notes and the sum agree on."""
    for items in found.values():
        assert [item for item in items if isinstance(item, Size)] == [Size(8)]
        notes = [item for item in items if isinstance(item, str)]
        assert any("Means over 8 of 12 training images" in note for note in notes)
        assert any("fixed batches of 4 of these images" in note for note in notes)
    values = numbers(found["landscape/lines"])
    mean, total = (values[f"landscape/batch/energy/{name}"] for name in ("mean", "sum"))
    assert total == pytest.approx(8 * mean)


def test_pictures_come_with_their_arrays(found: dict[str, list[Any]]) -> None:
    """Lines, contours and surfaces are pictures, with what is drawn by treatment and quantity."""
    figures = {i.name: i for items in found.values() for i in items if isinstance(i, Figure)}
    assert list(figures) == ["landscape_lines", "landscape_contours", "landscape_surfaces"]
    for figure in figures.values():
        assert figure.data.startswith(b"\x89PNG") and "8 training images" in figure.caption
    assert figures["landscape_lines"].arrays["batch/loss"].shape == (2, 3)
    assert figures["landscape_surfaces"].arrays["evaluation/energy"].shape == (3, 3)
    middle = figures["landscape_lines"].arrays["evaluation/energy"][:, 1]
    mean = numbers(found["landscape/lines"])["landscape/evaluation/energy/mean"]
    np.testing.assert_array_equal(middle, mean)


def test_progress_of_a_piece_is_one_that_rises(
    found: dict[str, list[Any]], told: dict[str, Told]
) -> None:
    """Both treatments, and both quantities of sharpness, are one pass, over at its end."""
    images = 2 * 8  # two treatments, whole batches of 4 of 11 images
    passes = {"lines": 2 * 3, "plane": 3 * 3, "sharpness": 2 * (3 + 2 + 1 + 2)}
    for name, count in passes.items():
        done = [n for n, _ in told[f"landscape/{name}"]]
        assert {total for _, total in told[f"landscape/{name}"]} == {images * count}
        assert done == sorted(done) and done[-1] == images * count and done.count(done[-1]) == 1


def test_what_leaves_the_numbers_is_refused() -> None:
    """Lines and planes too wide for float32 say in one line what to make smaller."""
    lines, plane, _ = part.pieces(asked(WANTED._replace(span=1e30)))
    for piece, where in ((lines, "the lines"), (plane, "the plane")):
        with pytest.raises(UserError, match=rf"everywhere on {where}; make config.*\.span smaller"):
            list(piece.run(lambda done, total: None))


def test_a_smaller_subset_starts_a_larger_one() -> None:
    """The images are by chance, always the same, and known by their checksum."""
    few, many = (part.Ground(asked(WANTED._replace(images=n))).images for n in (4, 12))
    np.testing.assert_array_equal(few.images, many.images[:4])
    assert not np.array_equal(many.images, IMAGES)
    other = Images(255 - IMAGES, LABELS)
    sums = {next(part.pieces(a)).checksum() for a in (asked(), asked(), asked(images=other))}
    assert len(sums) == 2


def test_a_model_trained_without_sam_gets_the_papers_rho() -> None:
    """The ball is the run's, or 0.2 where the run had none, and the note says which."""
    for trained, rho, said in ((0.05, 0.05, "as trained"), (0.0, 0.2, "the paper's")):
        assert part._sam({"sam.rho": trained, "sam.adaptive": False})["rho"] == rho
        assert said in part._sam_note({"sam.rho": trained, "sam.adaptive": False}, rho)


def test_the_cost_is_all_passes_of_both_treatments() -> None:
    """Forwards a point, 4.5 gradients a Hessian product, for each image and treatment."""
    lines, plane, sharp = (piece.cost() for piece in part.pieces(asked()) if piece.cost)
    assert lines.forwards == 2 * 11 * (2 * 3 + 1)
    assert plane.forwards == 2 * 11 * 9
    assert sharp.forwards == 2 * 11 * 2 * 2
    assert sharp.gradients == 2 * 11 * 2 * (3 + 2 + 1) * 4.5


def test_a_hessian_product_is_nine_forwards() -> None:
    """Counted in the program itself, of a network whose first layer is a small part of it."""
    network = WideResNet(16, 2, 10)
    images = np.zeros((1, 16, 16, 3), np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    theta, unravel = ravel_pytree(variables["params"])
    sums = functools.partial(_sums, networks.logits_fn(network), unravel)
    rows = Rows(jnp.asarray(images), np.zeros(1, int), np.ones(1, np.float32))

    def product(theta: jax.Array, vector: jax.Array) -> Any:
        there = {**variables, "params": None}, theta
        return _curvature(sums, (there, vector, jnp.ones(2)), rows)

    count = flops.count(product, theta, theta).flop
    forwards = count / flops.forward(network, (16, 16, 3)).flop
    assert 2 * GRADIENTS_A_PRODUCT * 0.95 < forwards <= 2 * GRADIENTS_A_PRODUCT
