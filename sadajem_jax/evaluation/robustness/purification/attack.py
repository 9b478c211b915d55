"""PGD on a purified classifier, each break verified by chains that the attack has not seen.

Source: Hill, Mitchell and Zhu 2021 (arXiv 2005.13525), algorithm 1 and its released code
(point0bar1/ebm-defense), but for the gradient, which may go through the whole chain, and for clean
images, which the verifying chains judge alone (there the attack's may pass an image as well).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sadajem_jax import sgld
from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.autoattack.batches import Placement
from sadajem_jax.evaluation.networks import Logits
from sadajem_jax.evaluation.robustness.purification import cost, pgd
from sadajem_jax.evaluation.robustness.purification.campaign import Campaign, Result
from sadajem_jax.evaluation.robustness.purification.expectation import Expectation
from sadajem_jax.evaluation.robustness.purification.meter import Meter
from sadajem_jax.evaluation.robustness.purification.presets import Purification
from sadajem_jax.evaluation.robustness.purification.purifier import Purifier
from sadajem_jax.inference.images import as_float, as_images

EPS, STEP_SIZE = 8 / 255, 2 / 255  # on the scale of [0, 1]


def run(
    logits_fn: Logits,
    variables: Any,
    images: Any,
    labels: np.ndarray,
    settings: Purification,
    *,
    kernel: sgld.Langevin,
    through_chain: bool = True,
    eps: float = EPS,
    step_size: float = STEP_SIZE,
    seed: int = 0,
    search_fn: Logits | None = None,
    batch_size: int = 100,
    segment: int | None = None,
    progress: Advance | None = None,
) -> Result:
    """Attacks a classifier behind its own chain, in the L_inf ball.

    Args:
      logits_fn: pure, (variables, x [B, H, W, channels] in [-1, 1]) -> logits [B, C]; no row may
        know of the others (batch norm in evaluation mode).
      variables: what it takes.
      images: [N, H, W, channels] uint8, or floats in [-1, 1]; all of them are attacked, however
        many `settings` names.
      labels: [N] int.
      settings: lengths and numbers; `num_steps` 0 is the network alone. Where chains have no noise
        one is run in place of many.
      kernel: as trained; `settings` has its noise, and whether it clips.
      through_chain: whether the gradient goes through the chain (exact), or the purifier's backward
        pass is the identity (BPDA, Athalye et al. 2018, arXiv 1802.00420).
      eps: radius of the ball, on the scale of [0, 1].
      step_size: of PGD, on the same scale.
      seed: every draw is a function of (seed, purpose, step, image's index, chain), so that no
        result depends on batch_size or the devices but for rounding.
      search_fn: like `logits_fn`; what the attack follows instead, in a lower precision say. Only
        what `logits_fn` then confirms counts.
      batch_size: rows that a device takes at a time; an image has as many as chains.
      segment: see `Purifier`.
      progress: told how far it is, in gradients, at most.

    Returns:
      See `Result`.

    Raises:
      TypeError: for images that are neither uint8 nor floats.
      ValueError: for images and labels that do not fit, in one line.
      UserError: for logits that are not finite, as where the chain diverges.

    Examples:
      >>> from sadajem_jax.evaluation.robustness.purification.presets import PRESETS
      >>> logits = lambda w, x: w * x.mean(axis=(1, 2))  # a channel a class
      >>> images = np.array([[[[0.9, 0.1]]], [[[0.02, 0.06]]]], np.float32)
      >>> settings = PRESETS["short"]._replace(num_steps=2)
      >>> result = run(logits, 1.0, images, np.array([0, 1]), settings, kernel=sgld.Langevin(0.1))
      >>> result.verdicts.tolist(), result.accuracy
      (['stands', 'broken'], 0.5)
    """
    x, labels = _checked(images, labels)
    step_cost = cost.stage(settings, through_chain=through_chain, segment=segment)
    meter = Meter(progress, settings.attack_steps + 2, len(x) * step_cost.gradients)
    number = cost.chains(settings)
    placement = Placement(variables, min(batch_size, len(x) * max(number)))

    def purifier(function: Logits) -> Purifier:
        made = kernel_of(kernel, settings)
        return Purifier(function, made, settings.num_steps, placement, meter.did, segment)

    judge = purifier(logits_fn)
    search = judge if search_fn is None else purifier(search_fn)  # one network: compiled once
    campaign = Campaign(
        pgd.Ball(x, 2 * eps, 2 * step_size),
        labels,
        judge=Expectation(judge, number.verify),
        search=Expectation(search, number.attack),
        seed=seed,
    )
    campaign.judge_clean()
    meter.stage_over()
    for step in range(settings.attack_steps + 1):
        campaign.step(step, through_chain=through_chain, last=step == settings.attack_steps)
        meter.stage_over()
    return campaign.result()


def kernel_of(trained: sgld.Langevin, settings: Purification) -> sgld.Langevin:
    """The kernel of the chain that purifies: the trained step, and noise and clips as asked for."""
    kernel = trained._replace(noise_std=settings.noise_std)
    if settings.clip:
        return kernel
    return kernel._replace(grad_clip=math.inf, bounds=(-math.inf, math.inf))


def _checked(images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images as float32 and labels as int32; a ValueError of one line for what does not fit."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or not images.size:
        raise ValueError(f"images must be [N, H, W, channels], N at least 1, found {images.shape}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} {labels.shape}"
        raise ValueError(f"labels must be integers [{len(images)}], one an image, found {found}")
    return as_float(as_images(images, images.shape[1:])), labels.astype(np.int32)
