"""What is refused before an attack, and what its authors warn of after one.

The warnings are those of the released code (fra31/auto-attack, checks and flags_doc), as sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from sadajem_jax.evaluation.autoattack.projections import NORMS

MOST_TARGETS = 9
FEWEST_FOR_DLR = 4
SQUARE_GAIN = 0.002  # 0.2 points


class Refused(ValueError):
    """What cannot be attacked, and why, in one line."""


def refuse(images: np.ndarray, labels: np.ndarray, norm: str, eps: float, batch_size: int) -> None:
    """Raises Refused for what cannot be attacked."""
    if norm not in NORMS:
        raise Refused(f"norm must be one of {', '.join(NORMS)}, found {norm!r}")
    if not 0 < eps < np.inf:
        raise Refused(f"eps must be above 0 and finite, found {eps}")
    if images.ndim == 4 and eps > (most := _diameter(norm, images.shape[1:])):
        raise Refused(
            f"eps must be at most {most:g}, the whole box of [0, 1] in {norm}, found {eps:g}; sizes"
            f" in units of 1/255 are to be divided: {eps:g}/255 = {eps / 255:.4g}"
        )
    if batch_size < 1:
        raise Refused(f"batch_size must be at least 1, found {batch_size}")
    if images.ndim != 4 or not images.size:
        raise Refused(f"images must be [N, H, W, channels], N at least 1, found {images.shape}")
    if not np.issubdtype(images.dtype, np.floating):
        raise Refused(f"images must be floats in [0, 1], found {images.dtype}")
    if not (images.min() >= 0 and images.max() <= 1):
        raise Refused(f"images must lie in [0, 1], found [{images.min():g}, {images.max():g}]")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        found = f"{labels.dtype} {labels.shape}"
        raise Refused(f"labels must be integers [{len(images)}], one an image, found {found}")


def _diameter(norm: str, shape: tuple[int, ...]) -> float:
    return 1.0 if norm == "l_inf" else float(np.sqrt(np.prod(shape)))


def refuse_step_size(step_size: float) -> None:
    """Raises Refused for a step that does not go up."""
    if not 0 < step_size < np.inf:
        raise Refused(f"step_size must be above 0 and finite, found {step_size}")


def refuse_network(function: Callable[..., Any], variables: Any, images: np.ndarray) -> int:
    """Raises Refused for a function that does not give [B, C] logits; else gives C.

    Nothing is computed.
    """
    rows = jax.ShapeDtypeStruct((2, *images.shape[1:]), np.float32)
    found = jax.eval_shape(function, variables, rows)
    shape = getattr(found, "shape", None)
    if shape is None or len(shape) != 2 or shape[0] != 2 or shape[1] < 2:
        said = type(found).__name__ if shape is None else f"{list(shape)} for two images"
        raise Refused(f"logits_fn must give [B, C], C at least 2, found {said}")
    return shape[1]


def refuse_labels(labels: np.ndarray, classes: int) -> None:
    """Raises Refused for labels that are none of so many classes."""
    if labels.min() < 0 or labels.max() >= classes:
        found = f"{labels.min()} ... {labels.max()}"
        raise Refused(f"labels must be from 0 to {classes - 1}, found {found}")


def refuse_logits(logits: np.ndarray, labels: np.ndarray) -> None:
    """Raises Refused for logits that define no classifier of these labels."""
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise Refused(f"logits_fn must give [B, C], C at least 2, found {logits.shape}")
    if not np.isfinite(logits).all():
        row = int(np.argmin(np.isfinite(logits).all(axis=1)))
        raise Refused(f"logits must be finite, those of image {row} are not")
    refuse_labels(labels, logits.shape[1])


def about_model(logits: np.ndarray, again: np.ndarray) -> list[str]:
    """Warnings about what a network gives for clean images.

    Args:
      logits: [N, C].
      again: [M, C] a second evaluation of the first M images.

    Returns:
      A sentence for each thing that makes the attack's numbers doubtful.
    """
    found, classes = [], logits.shape[1]
    first = logits[: len(again)]
    if np.abs(_unit(first) - _unit(again)).max() > 1e-4:
        found.append(
            "Two evaluations of the same images differ: the model is randomised, and this attack"
            " overestimates its robustness; attack the expectation over its randomness instead."
        )
    if logits.min() > -1e-5 and logits.max() < 1 + 1e-5 and _near_one(logits.sum(axis=1)):
        found.append(
            "The outputs look like probabilities: give logits, since softmax hides gradients."
        )
    if classes < FEWEST_FOR_DLR:
        found.append(
            f"With {classes} classes there is no targeted DLR loss, which needs {FEWEST_FOR_DLR}:"
            " apgd-t was left out, and the attack is weaker than standard AutoAttack."
        )
    if classes <= MOST_TARGETS:
        found.append(
            f"With {classes} classes there are {classes - 1} target classes, not {MOST_TARGETS}."
        )
    return found


def about_gradients(attack: str, zero: int, attacked: int) -> list[str]:
    """A warning where images had a gradient of zero at the start of an attack."""
    if not zero:
        return []
    return [
        f"{zero} of {attacked} images had a gradient of zero at the start of {attack}: attacks by"
        " gradients are unreliable here."
    ]


def about_square(standing: Mapping[str, float]) -> list[str]:
    """A warning where Square, which uses no gradient, broke more than 0.2 points of images.

    Args:
      standing: share left after each attack, in order.
    """
    if len(standing) < 2:
        return []
    before, after = list(standing.values())[-2:]
    if before - after <= SQUARE_GAIN:
        return []
    return [
        f"Square Attack broke {100 * (before - after):.1f} points of images that the attacks by"
        " gradients did not: gradients may be masked, and an adaptive attack may break more."
    ]


def _unit(logits: np.ndarray) -> np.ndarray:
    return logits / (np.linalg.norm(logits, axis=1, keepdims=True) + 1e-10)


def _near_one(sums: np.ndarray) -> bool:
    return bool(np.all(np.abs(sums - 1) < 1e-5))
