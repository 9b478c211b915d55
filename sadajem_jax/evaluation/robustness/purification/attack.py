"""PGD on a purified classifier, each break verified by chains that the attack has not seen.

Source: Hill, Mitchell and Zhu 2021 (arXiv 2005.13525), algorithm 1 and its released code
(point0bar1/ebm-defense), but for the gradient, which may go through the whole chain, and for clean
images, which the verifying chains judge alone (there the attack's may pass an image as well).
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from sadajem_jax import sgld
from sadajem_jax.console.progress import Advance
from sadajem_jax.evaluation.autoattack import checks
from sadajem_jax.evaluation.autoattack.batches import Placement
from sadajem_jax.evaluation.autoattack.saved import Save
from sadajem_jax.evaluation.networks import Logits
from sadajem_jax.evaluation.robustness.purification import cost, ledger, pgd
from sadajem_jax.evaluation.robustness.purification.campaign import Campaign, Result
from sadajem_jax.evaluation.robustness.purification.expectation import Expectation
from sadajem_jax.evaluation.robustness.purification.meter import Meter
from sadajem_jax.evaluation.robustness.purification.presets import Purification
from sadajem_jax.evaluation.robustness.purification.purifier import Purifier
from sadajem_jax.evaluation.robustness.unit import unit
from sadajem_jax.inference.images import as_float, as_images
from sadajem_jax.workdir.state_format import checksum

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
    starts: np.ndarray | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
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
      starts: [N, H, W, channels] in [-1, 1], where PGD begins, brought into the balls; None: at
        random. With `attack_steps` 0 these points are tried and no other.
      checkpoint: a file that keeps what was found, replaced every half minute or so, and at the
        end; a call with the same arguments, of a fresh process, goes on from it, and one with
        others replaces it. It stays; delete it at the end.
      progress: told how far it is, in gradients, at most.

    Returns:
      See `Result`.

    Raises:
      TypeError: for images that are neither uint8 nor floats.
      ValueError: for images, labels, sizes, settings or logits that do not fit, or a checkpoint
        that is none, in one line.
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
    x, labels = _checked(images, labels, eps, step_size, batch_size)
    starts = _checked_starts(starts, x)
    _refuse_settings(settings)
    checks.refuse_labels(labels, checks.refuse_network(logits_fn, variables, x))
    eps, step_size, seed = float(eps), float(step_size), int(seed)
    made = kernel_of(kernel, settings)
    step_cost = cost.stage(settings, through_chain=through_chain, segment=segment)
    meter = Meter(progress, settings.attack_steps + 2, len(x) * step_cost.gradients)
    number = cost.chains(settings)
    placement = Placement(variables, min(batch_size, len(x) * max(number)))

    def purifier(function: Logits) -> Purifier:
        return Purifier(function, made, settings.num_steps, placement, meter.did, segment)

    judge = purifier(logits_fn)
    search = judge if search_fn is None else purifier(search_fn)  # one network: compiled once
    identity = _identity(settings, made, eps, step_size, seed)
    identity |= {"through_chain": through_chain, "rounded": search_fn is not None}
    identity["checksum"] = checksum([x, labels, starts, variables]) if checkpoint else ""
    campaign = Campaign(
        pgd.Ball(x, 2 * eps, 2 * step_size),
        labels,
        judge=Expectation(judge, number.verify),
        search=Expectation(search, number.attack),
        seed=seed,
        starts=starts,
        save=Save(checkpoint, identity, ledger.NAMES),
    )
    for stage in range(settings.attack_steps + 2):
        if stage >= campaign.ledger.stages:
            last = stage == settings.attack_steps + 1
            campaign.stage(stage, through_chain=through_chain, last=last)
        meter.stage_over()
    return campaign.result()


def kernel_of(trained: sgld.Langevin, settings: Purification) -> sgld.Langevin:
    """The kernel of the chain that purifies: the trained step, and noise and clips as asked for."""
    kernel = trained._replace(noise_std=settings.noise_std)
    if settings.clip:
        return kernel
    return kernel._replace(grad_clip=math.inf, bounds=(-math.inf, math.inf))


def _identity(
    settings: Purification, kernel: sgld.Langevin, eps: float, step_size: float, seed: int
) -> dict[str, Any]:
    """What a kept attack is of, besides images, network and how it is searched."""
    chain = {"settings": str(settings), "kernel": str(kernel)}
    return {"attack": "purified", **chain, "eps": eps, "step_size": step_size, "seed": seed}


def _checked(
    images: Any, labels: Any, eps: float, step_size: float, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images as float32 and labels as int32; a ValueError of one line for what does not fit."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or not images.size:
        raise checks.Refused(
            f"images must be [N, H, W, channels], N at least 1, found {images.shape}"
        )
    images = as_images(images, images.shape[1:])
    checks.refuse(unit(images), labels, "l_inf", eps, batch_size)
    checks.refuse_step_size(step_size)
    return as_float(images), labels.astype(np.int32)


def _checked_starts(starts: Any, x: np.ndarray) -> np.ndarray | None:
    if starts is None:
        return None
    starts = np.asarray(starts)
    if starts.shape != x.shape or not np.isfinite(starts).all():
        found = f"{starts.dtype} {starts.shape}"
        raise checks.Refused(f"starts must be finite floats {x.shape}, as images, found {found}")
    return starts.astype(np.float32)


def _refuse_settings(settings: Purification) -> None:
    for name in ("attack_chains", "verify_chains"):
        if (value := getattr(settings, name)) < 1:
            raise checks.Refused(f"{name} must be at least 1, found {value}")
    for name in ("num_steps", "attack_steps", "noise_std"):
        if not 0 <= (value := getattr(settings, name)) < math.inf:
            raise checks.Refused(f"{name} must be at least 0 and finite, found {value}")
