"""Standard AutoAttack: four attacks in order, each on the images that still stand.

Source: Croce and Hein 2020 (arXiv 2003.01690), section 5, with the order and the numbers of the
released code's standard version (fra31/auto-attack).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.evaluation.autoattack import checks, losses
from sadajem_jax.evaluation.autoattack.apgd import apgd
from sadajem_jax.evaluation.autoattack.attack import Attack, Logits
from sadajem_jax.evaluation.autoattack.batches import Placement, Predictor, Runner
from sadajem_jax.evaluation.autoattack.campaign import Campaign, Name, Progress
from sadajem_jax.evaluation.autoattack.fab import fab
from sadajem_jax.evaluation.autoattack.square import square


class Result(NamedTuple):
    """What stands, and what does not, for N images.

    Attributes:
      robust_accuracy: share of all images classified rightly at every point that was tried.
      clean_accuracy: share classified rightly as they are.
      standing: {attack: share left after it}, in order.
      verdicts: [N] str: "stands", "misclassified" (unattacked), or the attack that broke the image.
      adversarial: [N, H, W, channels] float32, the misclassified image in the ball where one was
        found; elsewhere the clean image.
      warnings: sentences about what makes these numbers doubtful; none is best.
    """

    robust_accuracy: float
    clean_accuracy: float
    standing: dict[str, float]
    verdicts: np.ndarray
    adversarial: np.ndarray
    warnings: list[str]


def run(
    logits_fn: Logits,
    variables: Any,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    norm: str,
    eps: float,
    seed: int = 0,
    search_fn: Logits | None = None,
    batch_size: int = 250,
    progress: Progress | None = None,
) -> Result:
    """Attacks a classifier with standard AutoAttack.

    Args:
      logits_fn: pure, (variables, images [B, H, W, channels] in [0, 1]) -> logits [B, C]. What the
        network wants done to images (their scale, normalisation) is done in it.
      variables: of the network, any pytree.
      images: [N, H, W, channels] floats in [0, 1].
      labels: [N] int.
      norm: "l_inf" or "l_2".
      eps: radius of the ball in this norm, on the scale of [0, 1].
      seed: every draw is a function of (seed, attack, target's rank, image's index), so that no
        result depends on batch_size or the devices but for rounding.
      search_fn: like `logits_fn`; what the attacks follow instead, in a lower precision say. Each
        break is verified by `logits_fn`, and only verified ones count, so that a poor search can
        only miss some.
      batch_size: images a device takes at a time.
      progress: told how far an attack is; see `Progress`.

    Returns:
      See `Result`.

    Raises:
      ValueError: for images outside [0, 1], shapes that do not fit, labels that are no classes, an
        unknown norm, or eps not above 0; in one line.

    Examples:
      >>> logits = lambda w, x: w * (x.mean(axis=(1, 2)) - 0.5)  # a channel a class
      >>> images = np.array([[[[0.9, 0.1]]], [[[0.49, 0.51]]]], np.float32)
      >>> result = run(logits, 1.0, images, np.array([0, 1]), norm="l_inf", eps=0.05, batch_size=2)
      >>> result.verdicts.tolist(), result.robust_accuracy
      (['stands', 'apgd-ce'], 0.5)
    """
    images, labels = np.asarray(images), np.asarray(labels)
    checks.refuse(images, labels, norm, eps, batch_size)
    images, labels = images.astype(np.float32), labels.astype(np.int32)
    placement = Placement(variables, batch_size)
    predictor = Predictor(logits_fn, placement, norm, eps)
    logits = predictor.logits(images)
    checks.refuse_logits(logits, labels)
    campaign = Campaign(images, labels, logits, placement, predictor, seed, progress)
    again = predictor.logits(images[: placement.size])
    search = _searched(search_fn or logits_fn, search_fn is None)
    attacks = standard(search, images.shape[1:], norm=norm, eps=eps)
    for name, attack in attacks.items():
        if name != Name.APGD_T or logits.shape[1] >= checks.FEWEST_FOR_DLR:
            campaign.run(name, Runner(attack, placement))
    return _result(campaign, checks.about_model(logits, again))


def _result(campaign: Campaign, about_model: list[str]) -> Result:
    return Result(
        robust_accuracy=campaign.share_standing(),
        clean_accuracy=campaign.clean_accuracy,
        standing=campaign.standing,
        verdicts=campaign.verdicts.astype(str),
        adversarial=campaign.adversarial,
        warnings=[*about_model, *campaign.warnings, *checks.about_square(campaign.standing)],
    )


def _searched(function: Logits, precise: bool) -> Logits:
    """The network that is searched: logits in float32, whatever it computes in."""

    def logits(variables: Any, images: jax.Array) -> jax.Array:
        return function(variables, images).astype(jnp.float32)

    return jax.default_matmul_precision("highest")(logits) if precise else logits


def standard(
    logits_fn: Logits, shape: tuple[int, ...], *, norm: str, eps: float
) -> dict[Name, Attack]:
    """The four attacks in order, for images of a shape (H, W, channels)."""
    return {
        Name.APGD_CE: apgd(logits_fn, losses.cross_entropy, norm=norm, eps=eps),
        Name.APGD_T: apgd(logits_fn, losses.targeted_dlr, norm=norm, eps=eps),
        Name.FAB_T: fab(logits_fn, norm=norm, eps=eps),
        Name.SQUARE: square(logits_fn, shape, norm=norm, eps=eps),
    }
