"""What an attack does to images, what the chain makes of both, and the classes seen in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from sadajem_jax import sgld
from sadajem_jax.evaluation import curves
from sadajem_jax.evaluation.autoattack.batches import Placement
from sadajem_jax.evaluation.networks import Logits
from sadajem_jax.evaluation.robustness.purification.attack import kernel_of
from sadajem_jax.evaluation.robustness.purification.campaign import Purpose
from sadajem_jax.evaluation.robustness.purification.presets import Purification
from sadajem_jax.evaluation.robustness.purification.purifier import Purifier
from sadajem_jax.inference.pictures import to_uint8
from sadajem_jax.workdir.figure import Figure

SHOWN = 10  # images
ROWS = ("clean", "attacked", "clean, purified", "attacked, purified")


def purified(
    logits_fn: Logits,
    variables: Any,
    x: np.ndarray,
    settings: Purification,
    *,
    kernel: sgld.Langevin,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Where one chain of each image ends, and what the network says of that point.

    Args:
      logits_fn: as of `attack.run`.
      variables: what it takes.
      x: [n, H, W, channels] float32 in [-1, 1].
      settings: of the chain; `num_steps` 0 gives x.
      kernel: as trained.
      seed: of the noise.

    Returns:
      ([n, H, W, channels], logits [n, C]).
    """
    placement = Placement(variables, math.ceil(len(x) / jax.local_device_count()))
    made = Purifier(logits_fn, kernel_of(kernel, settings), settings.num_steps, placement)
    key = jax.random.fold_in(jax.random.key(seed), Purpose.SHOW)
    trace = made.trace(x, key, np.arange(len(x)), np.zeros(len(x), int))
    return np.asarray(trace.states[-1])[: len(x)], trace.logits


def figure(
    logits_fn: Logits,
    variables: Any,
    clean: np.ndarray,
    attacked: np.ndarray,
    labels: np.ndarray,
    settings: Purification,
    class_names: Sequence[str],
    *,
    kernel: sgld.Langevin,
    seed: int = 0,
) -> Figure:
    """A row each of images clean, attacked, and what one chain makes of either.

    Args:
      logits_fn: as of `attack.run`.
      variables: what it takes.
      clean: [n, H, W, channels] float32 in [-1, 1].
      attacked: the same under the attack.
      labels: [n] int.
      settings: of the chain.
      class_names: of the C classes.
      kernel: as trained.
      seed: of the noise.
    """
    static = settings._replace(num_steps=0)
    both = np.concatenate([clean, attacked])
    parts = [
        purified(logits_fn, variables, both, chain, kernel=kernel, seed=seed)
        for chain in (static, settings)
    ]
    x = np.concatenate([end for end, _ in parts]).reshape(4, len(clean), *clean.shape[1:])
    predicted = np.concatenate([np.argmax(logits, axis=-1) for _, logits in parts])
    arrays = {
        "images": to_uint8(x),
        "predicted": predicted.reshape(4, -1),
        "labels": np.asarray(labels),
    }
    caption = (
        "Test images, the points that the attack on the purified classifier ended with, and where"
        " one chain takes either; beneath each the class that the network sees in that very"
        " picture, red where it is wrong."
    )
    name = "robustness_purified"
    return Figure(name, _draw(arrays, class_names), ".png", arrays, caption)


def _draw(arrays: dict[str, np.ndarray], class_names: Sequence[str]) -> bytes:
    images, predicted, labels = arrays["images"], arrays["predicted"], arrays["labels"]
    columns = images.shape[1]
    canvas, panels = curves.canvas(4, columns, (0.85 * columns + 0.8, 4.4))
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        panel.imshow(images[row, column].squeeze(), cmap="gray", vmin=0, vmax=255)
        panel.grid(visible=False)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
        seen = predicted[row, column]
        colour = curves.INK if seen == labels[column] else curves.RED
        panel.set_xlabel(class_names[seen], color=colour, fontsize=8, labelpad=2)
        if column == 0:
            panel.set_ylabel(ROWS[row].replace(", ", ",\n"), fontsize=8, rotation=0, ha="right")
    return curves.png(canvas)
