"""Robustness as a part of --mode=eval: PGD (Figure 5), AutoAttack, and the purified model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from sadajem_jax import backend
from sadajem_jax.console.progress import Advance
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation import autoattack, costs, flops, networks
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.autoattack.campaign import MISCLASSIFIED, STANDS
from sadajem_jax.evaluation.autoattack.driver import Result
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.networks import Logits
from sadajem_jax.evaluation.parts import Item, Piece, Size
from sadajem_jax.evaluation.passes import GRADIENT_SHARE
from sadajem_jax.evaluation.robustness import figures, pgd, protocols, refusals, unfinished
from sadajem_jax.evaluation.robustness.protocols import AllPasses, Standard
from sadajem_jax.evaluation.robustness.purification import part as purification
from sadajem_jax.evaluation.robustness.unit import of_unit, signed, unit
from sadajem_jax.workdir.figure import Figure

SCALE = "Sizes are on the scale of [0, 1]: eps_8 is 8/255, which is 16/255 on [-1, 1]."
CARRIED = (
    "An image that breaks in a ball counts as broken in every larger one, which holds the same "
    "point, and is not attacked again."
)
PRECISIONS = {
    "float32": "The attacks followed the network in float32.",
    "bfloat16": "The attacks followed the network in bfloat16; a break counts if float32 has it.",
}


def pieces(asked: Asked) -> Iterator[Piece]:
    """PGD in both norms, AutoAttack in its two balls, then the model behind its own chain."""
    for norm in protocols.NORMS:
        yield _pgd(asked, norm)
    for ball in protocols.STANDARD:
        yield _autoattack(asked, ball)
    yield from purification.pieces(asked)


def _pgd(asked: Asked, norm: str) -> Piece:
    name, budgets = f"robustness/{norm}", protocols.budgets(norm)

    def run(progress: Advance) -> Iterator[Item]:
        test, kept = _attacked(asked), unfinished.path(asked, f"pgd_{norm}")
        continued = kept.exists()
        with refusals.as_reasons():
            results = pgd.sweep(
                asked.logits_fn,
                asked.model.variables,
                test.images,
                test.labels,
                list(budgets.values()),
                norm=norm,
                seed=asked.model.seed,
                search_fn=_search_fn(asked),
                batch_size=_batch_size(asked),
                checkpoint=kept,
                progress=progress,
            )
        yield from _said(asked, len(test.labels))
        yield CARRIED
        if continued:
            yield unfinished.CONTINUED
        accuracy = [results[0].clean_accuracy, *(found.robust_accuracy for found in results)]
        names = ["clean_accuracy", *(f"{ball}/accuracy" for ball in budgets)]
        yield from ((f"{name}/{key}", value) for key, value in zip(names, accuracy, strict=True))
        if blind := max(found.zero_gradients for found in results):
            yield f"{blind} images had a gradient of zero at their start, where PGD is blind."
        eps = [0.0, *(budget.eps for budget in budgets.values())]
        yield figures.curve(norm, eps, accuracy, len(test.labels))
        unfinished.forget(kept)

    settings = {"attack": "PGD", "steps": pgd.NUM_STEPS}
    return _piece(asked, name, settings, run, lambda images: protocols.pgd_cost(norm, images))


def _autoattack(asked: Asked, ball: Standard) -> Piece:
    name, classes = f"robustness/autoattack/{ball.name}", asked.model.num_classes

    def run(progress: Advance) -> Iterator[Item]:
        test, search_fn = _attacked(asked), _search_fn(asked)
        kept = unfinished.path(asked, f"autoattack_{ball.name}")
        continued = kept.exists()
        with refusals.as_reasons():
            result = autoattack.run(
                of_unit(asked.logits_fn),
                asked.model.variables,
                unit(test.images),
                test.labels,
                norm=ball.norm,
                eps=ball.eps,
                seed=asked.model.seed,
                search_fn=search_fn and of_unit(search_fn),
                batch_size=_batch_size(asked),
                checkpoint=kept,
                progress=AllPasses(progress, classes),
            )
        yield from _said(asked, len(test.labels))
        yield from result.warnings
        if continued:
            yield unfinished.CONTINUED
        yield f"{name}/clean_accuracy", result.clean_accuracy
        yield from ((f"{name}/after_{key}", share) for key, share in result.standing.items())
        yield f"{name}/accuracy", result.robust_accuracy
        yield from _examples(asked, ball, test, result)
        unfinished.forget(kept)

    settings = {"attack": "AutoAttack, standard", "norm": ball.norm, "eps": f"{ball.eps:.6g}"}
    cost = protocols.autoattack_cost
    return _piece(asked, name, settings, run, lambda images: cost(images, classes))


def _piece(
    asked: Asked,
    name: str,
    settings: dict[str, Any],
    run: Callable[[Advance], Iterator[Item]],
    cost: Callable[[int], Cost],
) -> Piece:
    """A piece on the attacked images; `cost` is of how many there are."""
    common = {
        "images": asked.options.attack_images,
        "seed": asked.model.seed,
        "scale": "[0, 1]",
        "search": asked.options.attack_dtype,
    }
    return Piece(
        name,
        asked.on_test | common | settings,
        run,
        checksum=lambda: loading.checksum(_attacked(asked)),
        unit="",  # images drop out as they break: a rate would say nothing
        cost=lambda: cost(len(_attacked(asked).labels)),
    )


def _attacked(asked: Asked) -> Images:
    return asked.subset(asked.options.attack_images)


def _search_fn(asked: Asked) -> Logits | None:
    """The network in bfloat16 if that was asked for; else attacks follow the one that counts."""
    dtype = asked.options.attack_dtype
    return None if dtype == "float32" else networks.logits_fn(asked.model.network, dtype)


def _batch_size(asked: Asked) -> int:
    """Images a device takes at a time: of a gradient, and on a CPU not for longer than seconds."""
    images = -(-len(_attacked(asked).labels) // jax.local_device_count())
    size = min(images, asked.options.batch_size // GRADIENT_SHARE)
    if backend.on_cpu():
        each = flops.forward(asked.model.network, asked.model.image_shape).flop
        size = min(size, int(costs.TIMED_FLOP / max(each, 1)))
    return max(1, size)


def _said(asked: Asked, images: int) -> Iterator[Item]:
    """How many images, on which scale, and in which precision."""
    size = Size(images, asked.model.spec.num_test)
    yield size
    yield from size.note(asked.model.spec.name)
    yield SCALE
    yield PRECISIONS[asked.options.attack_dtype]


def _examples(asked: Asked, ball: Standard, test: Images, result: Result) -> Iterator[Figure]:
    """The first images that were broken, if any was."""
    broken = np.flatnonzero(~np.isin(result.verdicts, [STANDS, MISCLASSIFIED]))[: figures.SHOWN]
    if not len(broken):
        return
    adversarial, names = result.adversarial[broken], asked.model.class_names
    predicted = asked.model.predict(signed(adversarial))
    yield figures.examples(
        f"autoattack_{ball.name}",
        unit(test.images[broken]),
        adversarial,
        [names[label] for label in test.labels[broken]],
        [names[label] for label in predicted],
        _caption(ball, len(broken)),
    )


def _caption(ball: Standard, shown: int) -> str:
    """Of the figure of so many images.

    Examples:
      >>> _caption(Standard("", "l_2", 0.5), 1)
      'The first test image that AutoAttack broke in the L2 ball of 0.5, under what ... taken for.'
    """
    images, are = ("test image", "it is") if shown == 1 else (f"{shown} test images", "they are")
    where = f"the {protocols.NORMS[ball.norm]} ball of {_said_eps(ball)}"
    return f"The first {images} that AutoAttack broke in {where}, under what {are} taken for."


def _said_eps(ball: Standard) -> str:
    return f"{round(255 * ball.eps)}/255" if ball.norm == "l_inf" else f"{ball.eps:g}"
