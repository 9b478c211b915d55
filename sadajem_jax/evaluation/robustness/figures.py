"""The pictures of robustness: accuracy against the size of the ball, and what broke an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sadajem_jax.evaluation import curves
from sadajem_jax.evaluation.robustness.protocols import LEVELS, NORMS
from sadajem_jax.workdir.figure import Figure

SHOWN = 8  # images that were broken
LEVEL = 255  # of the scale that sizes are drawn on


def curve(norm: str, eps: Sequence[float], accuracy: Sequence[float], images: int) -> Figure:
    """Accuracy under PGD against eps (Figure 5).

    Args:
      norm: "l_inf" or "l_2".
      eps: on the scale of [0, 1], from 0 (clean) on.
      accuracy: shares, one for each.
      images: how many were attacked.
    """
    arrays = {"eps": np.asarray(eps, np.float64), "accuracy": np.asarray(accuracy, np.float64)}
    arrays["low"], arrays["high"] = wilson(arrays["accuracy"], images)
    caption = (
        f"Accuracy under PGD in {NORMS[norm]} balls (as the paper's Figure 5): {images:,} test "
        "images, 50 steps from a random start, sizes on the scale of [0, 1]. The band is Wilson's "
        "95% interval."
    )
    return Figure(f"robustness_{norm}", _draw_curve(norm, arrays), ".png", arrays, caption)


def wilson(share: np.ndarray, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95% interval of a probability, of which `share` of n images was seen.

    Source: Wilson 1927; unlike share +- 2 standard errors it has a width at 0 and 1.

    Examples:
      >>> low, high = wilson(np.array([1.0]), 50)
      >>> round(float(low[0]), 3), round(float(high[0]), 3)
      (0.929, 1.0)
    """
    z = 1.96
    middle = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    half = np.sqrt(share * (1 - share) / images + (z / (2 * images)) ** 2) * z / (1 + z**2 / images)
    return middle - half, middle + half


def _draw_curve(norm: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    has_radii = arrays["eps"][-1] * LEVEL > LEVELS[-1] + 0.5
    figure, panels = curves.canvas(1, 1 + has_radii, (4.4 * (1 + has_radii), 3.2))
    for panel, last in zip(panels, (LEVELS[-1] / LEVEL, 1.0), strict=False):
        at = arrays["eps"] <= last + 1e-9
        eps, accuracy, low, high = (arrays[k][at] for k in ("eps", "accuracy", "low", "high"))
        x = eps * LEVEL if panel is panels[0] else eps
        panel.fill_between(x, low, high, color=curves.BLUE, alpha=0.15, lw=0)
        panel.plot(x, accuracy, color=curves.BLUE, marker="o", ms=3.5, lw=1.4)
        panel.set(ylim=(0, 1.02), xlim=(0, None))
    panels[0].set(xlabel="eps, in 1/255", ylabel="accuracy under PGD")
    curves.heading(panels[0], f"{NORMS[norm]}, the paper's sizes")
    if has_radii:
        panels[1].set_xlabel("radius")
        curves.heading(panels[1], f"{NORMS[norm]}, up to radius 1")
    return curves.png(figure)


def examples(
    name: str,
    clean: np.ndarray,
    adversarial: np.ndarray,
    labels: Sequence[str],
    predicted: Sequence[str],
    caption: str,
) -> Figure:
    """Images, what broke them, and the difference magnified to the full range.

    Args:
      name: of the figure.
      clean: [n, H, W, channels] in [0, 1], n at least 1.
      adversarial: of the same shape.
      labels: names of the true classes.
      predicted: of what the adversarial images are taken for.
      caption: what was done.
    """
    arrays = {"clean": clean, "adversarial": adversarial}
    arrays |= {"labels": np.array(labels), "predicted": np.array(predicted)}
    change = adversarial - clean
    gain = 0.5 / max(np.abs(change).max(), 1e-9)
    figure, panels = curves.canvas(3, len(clean), (0.5 + 1.15 * len(clean), 3.9))
    rows = [panels[i : i + len(clean)] for i in range(0, len(panels), len(clean))]
    for row, pictures in zip(rows, (clean, adversarial, 0.5 + gain * change), strict=True):
        for panel, picture in zip(row, pictures, strict=True):
            shown = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
            panel.imshow(np.clip(shown, 0, 1), interpolation="nearest")
            panel.set(xticks=[], yticks=[])
            panel.grid(visible=False)
            panel.spines[:].set_visible(False)
    for row, side in zip(rows, ("clean", "adversarial", f"change × {gain:.3g}"), strict=True):
        row[0].set_ylabel(side)
    for row, titles, ink in ((rows[0], labels, curves.INK), (rows[1], predicted, curves.RED)):
        for panel, title in zip(row, titles, strict=True):
            panel.set_title(title, fontsize=8, color=ink)
    said = f"{caption} Below: the change, {gain:.3g} times itself around grey."
    return Figure(name, curves.png(figure), ".png", arrays, said)
