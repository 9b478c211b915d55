"""Out-of-distribution detection (Table 3) and the histograms of log p(x) (Tables 4 and 8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from sadajem_jax import augment, energy
from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation import curves
from sadajem_jax.evaluation.figure import Figure
from sadajem_jax.evaluation.sharded import ShardedRows
from sadajem_jax.wide_resnet import WideResNet

SCORES = {
    "log_density": "log p(x) + log Z, nats",
    "max_prob": "max p(y|x)",
    "approx_mass": "-||d log p(x) / dx||",
}
BINS = 60


class Scores:
    """The three scores of an image, higher for what looks like the training data; compiled once.

    log_density is logsumexp_y f(x)[y]; max_prob is max_y p(y | x); approx_mass is
    -||d log p(x) / dx||_2 for x in [-1, 1] (Grathwohl et al. 2020, Eq. 10), each image's own: the
    released code takes one image's gradient for all. Batch norm is in evaluation mode.

    Args:
      model: the network, in float32.
      batch_size: images a device takes at a time; a gradient keeps all activations.
    """

    def __init__(self, model: WideResNet, *, batch_size: int) -> None:
        def per_row(variables: Any, images: Any) -> dict[str, jax.Array]:
            def total(x: jax.Array) -> tuple[jax.Array, jax.Array]:
                logits: Any = model.apply(variables, x)
                return jnp.sum(energy.log_density(logits)), logits

            # In evaluation mode rows are independent: the sum's gradient is each one's own.
            score, logits = jax.grad(total, has_aux=True)(augment.to_float(images))
            return {"logits": logits, "norm": jnp.sqrt(jnp.sum(score**2, axis=(1, 2, 3)))}

        self._rows = ShardedRows(per_row, batch_size=batch_size)

    def __call__(self, variables: Any, images: np.ndarray) -> dict[str, np.ndarray]:
        """The scores of images.

        Args:
          variables: {"params": ..., "batch_stats": ...}.
          images: [N, H, W, channels] of 0 to 255, uint8 or floats.

        Returns:
          {name: [N] float64}, the first two from the logits in float64, so that confident images
          seldom tie at 1.

        Raises:
          UserError: if a score is not finite.
        """
        # One dtype for all sets, so one program: means of two images have halves.
        rows = self._rows(variables, np.asarray(images, np.float32))
        logits = rows["logits"].astype(np.float64)
        scores = {
            "log_density": scipy.special.logsumexp(logits, axis=-1),
            "max_prob": scipy.special.softmax(logits, axis=-1).max(axis=-1),
            "approx_mass": -rows["norm"].astype(np.float64),
        }
        for name, values in scores.items():
            if bad := int((~np.isfinite(values)).sum()):
                raise UserError(f"{name} of {bad:,} of {len(values):,} images is not finite")
        return scores


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
        f"{len(outside['log_density']):,} of {label} (log p(x): Tables 4 and 8); the extreme 0.1% "
        "at either end lie beyond the axes."
    )
    yield Figure(f"ood_{label}", _draw(label, arrays, aurocs), ".png", arrays, caption)


def _draw(label: str, arrays: dict[str, np.ndarray], aurocs: dict[str, float]) -> bytes:
    figure, panels = curves.canvas(1, 3, (10.0, 3.0))
    for panel, (score, title) in zip(panels, SCORES.items(), strict=True):
        inside, outside = arrays[f"{score}/inside"], arrays[f"{score}/outside"]
        low, high = np.quantile(np.concatenate([inside, outside]), [0.001, 0.999])
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        for values, name, colour in (
            (inside, "test set", curves.BLUE),
            (outside, label, curves.RED),
        ):
            share = np.histogram(values, edges)[0] / len(values)
            panel.stairs(share, edges, fill=True, color=colour, alpha=0.45, label=name)
        panel.set_yticks([])
        curves.heading(panel, f"{title}    AUROC {aurocs[score]:.3f}")
    panels[0].set_ylabel("share of images")
    panels[0].legend()
    return curves.png(figure)
