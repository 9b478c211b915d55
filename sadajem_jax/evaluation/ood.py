"""Out-of-distribution detection (Table 3) and the histograms of log p(x) (Tables 4 and 8)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sadajem_jax.console.progress import Advance
from sadajem_jax.data import specs
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import curves, ood_sets
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.ood_sets import OODSet
from sadajem_jax.evaluation.parts import Item, Piece, Size
from sadajem_jax.evaluation.passes import require_finite
from sadajem_jax.inference.scoring import KINDS, Outputs
from sadajem_jax.report.names import data_set
from sadajem_jax.workdir.figure import Figure

SCORES = {
    "log_density": "log p(x) + log Z, nats",
    "max_prob": "max p(y|x)",
    "approx_mass": "-||d log p(x) / dx||",
}
BINS = 60


def scores(outputs: Outputs) -> dict[str, np.ndarray]:
    """The three scores of images, higher for what looks like the training data.

    Args:
      outputs: of the images, with the gradient.

    Returns:
      {name: [N] float64}; see `inference.scoring`.

    Raises:
      UserError: if a score is not finite.
    """
    found = {name: KINDS[name](outputs) for name in SCORES}
    for name, values in found.items():
        require_finite(name, values)
    return found


def separation(inside: np.ndarray, outside: np.ndarray) -> dict[str, float]:
    """How well a score tells in-distribution (positive) from out-of-distribution.

    Args:
      inside: [N] scores.
      outside: [M] scores.

    Returns:
      auroc: P(inside > outside), ties one half; aupr: average precision; fpr95: the least share of
      `outside` at or above a threshold that at least 95% of `inside` reach.

    Examples:
      >>> separation(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
      {'auroc': 1.0, 'aupr': 1.0, 'fpr95': 0.0}
    """
    from sklearn import metrics

    scores = np.concatenate([inside, outside])
    is_inside = np.concatenate([np.ones(len(inside), int), np.zeros(len(outside), int)])
    false_rate, true_rate, _ = metrics.roc_curve(is_inside, scores, drop_intermediate=False)
    return {
        "auroc": float(metrics.roc_auc_score(is_inside, scores)),
        "aupr": float(metrics.average_precision_score(is_inside, scores)),
        "fpr95": float(false_rate[np.argmax(true_rate >= 0.95)]),
    }


def compare(
    label: str, inside: dict[str, np.ndarray], outside: dict[str, np.ndarray]
) -> Iterator[tuple[str, float] | Figure]:
    """Yields ("ood/LABEL/SCORE/METRIC", value) for every score and metric, and the histograms.

    Args:
      label: of the out-of-distribution set.
      inside: {score: [N]} of the in-distribution test set.
      outside: {score: [M]} of the other set.
    """
    arrays: dict[str, np.ndarray] = {}
    aurocs: dict[str, float] = {}
    for score in SCORES:
        found = separation(inside[score], outside[score])
        yield from ((f"ood/{label}/{score}/{name}", value) for name, value in found.items())
        arrays |= {f"{score}/inside": inside[score], f"{score}/outside": outside[score]}
        aurocs[score] = found["auroc"]
    caption = (
        f"Scores of {len(inside['log_density']):,} in-distribution test images and of "
        f"{len(outside['log_density']):,} of {data_set(label)}; the extreme 0.1% at either end lie "
        "beyond the axes. The paper's Tables 4 and 8 show log p(x) so."
    )
    yield Figure(f"ood_{label}", _draw(label, arrays, aurocs), ".png", arrays, caption)


def pieces(asked: Asked) -> Iterator[Piece]:
    """A piece a set; each is read when first needed, and let go when it is done."""
    for order, name in enumerate(asked.options.ood):
        yield _piece(asked, name, order)


def _piece(asked: Asked, name: str, order: int) -> Piece:
    passes, spec = asked.passes, asked.model.spec
    kept: list[OODSet] = []

    def outside() -> OODSet:
        if not kept:
            kept.append(ood_sets.load(name, spec, len(passes.test.labels), asked.data_dir))
        return kept[0]

    def run(progress: Advance) -> Iterator[Item]:
        found = outside()
        kept.clear()
        yield Size(len(found.images), found.official)
        yield f"{data_set(found.label)}: {found.note}."
        yield from asked.test_size.note(spec.name)
        inside = passes.on_test(gradient=True, progress=progress)
        others = passes.on(found.images, gradient=True, progress=progress)
        yield from compare(found.label, scores(inside), scores(others))

    label = ood_sets.label_of(name)
    return Piece(
        f"ood/{label}",
        asked.on_test | {"set": name},
        run,
        checksum=lambda: f"{asked.passes.test_checksum()} {outside().checksum}",
        gradient=True,
        label=label,
        order=order,
        cost=lambda: _cost(asked, name, is_first=order == 0),
    )


def _cost(asked: Asked, name: str, *, is_first: bool) -> Cost:
    """Of a set, taken to be as large as the test set where its size is not known before.

    The gradients on the test set itself are taken once, for the first of the sets.
    """
    own = len(asked.passes.test.labels)
    size = get_spec(name).num_test if name in specs.NAMES else own
    return Cost(gradients=size + own * is_first)


def _draw(label: str, arrays: dict[str, np.ndarray], aurocs: dict[str, float]) -> bytes:
    figure, panels = curves.canvas(1, 3, (10.0, 3.0))
    for panel, (score, title) in zip(panels, SCORES.items(), strict=True):
        inside, outside = arrays[f"{score}/inside"], arrays[f"{score}/outside"]
        low, high = np.quantile(np.concatenate([inside, outside]), [0.001, 0.999])
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        for values, name, colour in (
            (inside, "test set", curves.BLUE),
            (outside, data_set(label), curves.RED),
        ):
            share = np.histogram(values, edges)[0] / len(values)
            panel.stairs(share, edges, fill=True, color=colour, alpha=0.45, label=name)
        panel.set_yticks([])
        curves.heading(panel, f"{title}    AUROC {aurocs[score]:.3f}")
    panels[0].set_ylabel("share of images")
    panels[0].legend()
    return curves.png(figure)
