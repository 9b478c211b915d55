"""Standard AutoAttack: four attacks in order, each on the images that still stand.

Source: Croce and Hein 2020 (arXiv 2003.01690), section 5, with the order and the numbers of the
released code's standard version (fra31/auto-attack).
"""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple

import numpy as np

from sadajem_jax.evaluation.autoattack import checks, losses
from sadajem_jax.evaluation.autoattack.apgd import apgd
from sadajem_jax.evaluation.autoattack.attack import Attack, Logits
from sadajem_jax.evaluation.autoattack.batches import KEPT, Placement, Runner
from sadajem_jax.evaluation.autoattack.campaign import STANDS, Campaign, Name, Progress
from sadajem_jax.evaluation.autoattack.fab import fab
from sadajem_jax.evaluation.autoattack.predictor import Predictor, precise, rounded
from sadajem_jax.evaluation.autoattack.saved import Ledger, Save
from sadajem_jax.evaluation.autoattack.square import square
from sadajem_jax.workdir.state_format import checksum


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
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Attacks a classifier with standard AutoAttack.

    Programs are kept by `logits_fn` and the shapes: another call with the same function, of other
    variables, images, sizes or seeds, compiles nothing.

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
      checkpoint: a file that keeps what was found, replaced after each target class and every half
        minute or so; a call with the same arguments, of a fresh process, goes on from it, and one
        with others replaces it. It stays; delete it at the end.
      progress: told how far an attack is; see `Progress`.

    Returns:
      See `Result`.

    Raises:
      ValueError: for images outside [0, 1], shapes that do not fit, labels that are no classes, an
        unknown norm, eps not above 0, or a checkpoint that is none; in one line.

    Examples:
      >>> logits = lambda w, x: w * (x.mean(axis=(1, 2)) - 0.5)  # a channel a class
      >>> images = np.array([[[[0.9, 0.1]]], [[[0.49, 0.51]]]], np.float32)
      >>> result = run(logits, 1.0, images, np.array([0, 1]), norm="l_inf", eps=0.05, batch_size=2)
      >>> result.verdicts.tolist(), result.robust_accuracy
      (['stands', 'apgd-ce'], 0.5)
    """
    images, labels = np.asarray(images), np.asarray(labels)
    checks.refuse(images, labels, norm, eps, batch_size)
    eps, seed = float(eps), int(seed)  # NumPy's and JAX's scalars are as good
    images, labels = images.astype(np.float32), labels.astype(np.int32)
    logits_fn, search_fn = _hashable(logits_fn), search_fn and _hashable(search_fn)
    checks.refuse_network(logits_fn, variables, images)
    placement = Placement(variables, batch_size)
    predictor = Predictor(logits_fn, placement, norm)
    logits = predictor.logits(images)
    checks.refuse_logits(logits, labels)
    about_model = checks.about_model(logits, predictor.logits(images[: placement.size]))
    identity = {"norm": norm, "eps": eps, "seed": seed, "rounded": search_fn is not None}
    identity["checksum"] = checksum([images, labels, variables]) if checkpoint else ""
    campaign = Campaign(
        images,
        labels,
        logits,
        predictor,
        eps=eps,
        seed=seed,
        save=Save(checkpoint, identity, Ledger._fields),
        progress=progress,
    )
    search = rounded(search_fn) if search_fn else precise(logits_fn)
    for name, attack in standard(search, images.shape[1:], norm=norm).items():
        if name != Name.APGD_T or logits.shape[1] >= checks.FEWEST_FOR_DLR:
            campaign.run(name, Runner(attack, placement))
    return _result(campaign, about_model)


def _result(campaign: Campaign, about_model: list[str]) -> Result:
    ledger = campaign.ledger
    return Result(
        robust_accuracy=float(np.mean(ledger.verdicts == STANDS)),
        clean_accuracy=campaign.clean_accuracy,
        standing=campaign.standing,
        verdicts=ledger.verdicts.astype(str),
        adversarial=ledger.adversarial,
        warnings=[*about_model, *campaign.warnings],
    )


def _hashable(function: Logits) -> Logits:
    """The function itself if programs can be kept by it, else one that is new at every call."""
    try:
        hash(function)
    except TypeError:
        return lambda variables, images: function(variables, images)
    return function


@functools.lru_cache(maxsize=KEPT)
def standard(logits_fn: Logits, shape: tuple[int, ...], *, norm: str) -> dict[Name, Attack]:
    """The four attacks in order, for images of a shape (H, W, channels); the same ones again."""
    return {
        Name.APGD_CE: apgd(logits_fn, losses.cross_entropy, norm=norm),
        Name.APGD_T: apgd(logits_fn, losses.targeted_dlr, norm=norm),
        Name.FAB_T: fab(logits_fn, norm=norm),
        Name.SQUARE: square(logits_fn, shape, norm=norm),
    }
