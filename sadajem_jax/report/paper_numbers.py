"""What the paper reports, as data: X. Yang, Q. Su, S. Ji, CVPR 2023, arXiv 2209.07959.

Read off its tables and Figure 4; accuracies are in percent. None: not given.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A system's row of Table 1 or 2: accuracy in percent, Inception Score and FID."""

    system: str
    accuracy: float | None
    inception_score: float | None
    fid: float | None


GENERATION: dict[str, tuple[Row, ...]] = {
    "cifar10": (  # Table 1
        Row("SADA-JEM, K = 5", 95.5, 8.77, 9.41),
        Row("SADA-JEM, K = 10", 96.0, 8.63, 11.4),
        Row("SADA-JEM, K = 20", 96.1, 8.40, 13.1),
        Row("IGEBM, K = 60", 49.1, 8.30, 37.9),
        Row("JEM, K = 20", 92.9, 8.76, 38.4),
        Row("JEM++, M = 5", 91.1, 7.81, 37.9),
        Row("JEM++, M = 10", 93.5, 8.29, 37.1),
        Row("JEM++, M = 20", 94.1, 8.11, 38.0),
        Row("JEAT", 85.2, 8.80, 38.2),
        Row("CF-EBM, K = 50", None, None, 16.7),
        Row("ImCD, K = 40", None, 7.85, 25.1),
        Row("DiffuRecov, K = 30", None, 8.31, 9.58),
        Row("VAEBM, K = 6", None, 8.43, 12.2),
        Row("VERA", 93.2, 8.11, 30.5),
        Row("Softmax", 96.2, None, None),
        Row("Softmax + SAM", 97.2, None, None),
        Row("SNGAN", None, 8.59, 21.7),
        Row("StyleGAN2-ADA", None, 9.74, 2.92),
    ),
    "cifar100": (  # Table 2
        Row("SADA-JEM, K = 5", 75.0, 11.63, 14.4),
        Row("SADA-JEM, K = 10", 76.4, 10.95, 15.1),
        Row("SADA-JEM, K = 20", 77.3, 10.78, 19.9),
        Row("JEM, K = 20", 72.2, 10.22, 38.1),
        Row("JEM++, M = 5", 72.1, 8.05, 38.9),
        Row("JEM++, M = 10", 74.2, 9.97, 34.5),
        Row("JEM++, M = 20", 75.9, 10.07, 33.7),
        Row("VERA, alpha = 100", 72.2, 8.25, 29.5),
        Row("VERA, alpha = 1", 48.7, 7.84, 25.1),
        Row("Softmax", 81.3, None, None),
        Row("Softmax + SAM", 83.4, None, None),
        Row("SNGAN", None, 9.30, 15.6),
        Row("BigGAN", None, 11.0, 11.7),
    ),
}

OOD_SETS = ("svhn_cropped", "cifar10_interpolated", "cifar100", "celeb_a")
OOD_AUROC: dict[str, dict[str, dict[str, tuple[float | None, ...]]]] = {
    "cifar10": {  # Table 3, in the order of OOD_SETS
        "log_density": {
            "SADA-JEM, K = 5": (0.91, 0.79, 0.90, 0.82),
            "SADA-JEM, K = 10": (0.95, 0.81, 0.90, 0.88),
            "SADA-JEM, K = 20": (0.98, 0.83, 0.92, 0.95),
            "WideResNet": (0.91, None, 0.87, 0.78),
            "IGEBM": (0.63, 0.70, 0.50, 0.70),
            "JEM": (0.67, 0.65, 0.67, 0.75),
            "JEM++, M = 20": (0.85, 0.57, 0.68, 0.80),
            "VERA": (0.83, 0.86, 0.73, 0.33),
            "ImCD": (0.91, 0.65, 0.83, None),
        },
        "max_prob": {
            "SADA-JEM, K = 5": (0.92, 0.77, 0.88, 0.81),
            "SADA-JEM, K = 10": (0.93, 0.78, 0.89, 0.78),
            "SADA-JEM, K = 20": (0.96, 0.80, 0.91, 0.84),
            "WideResNet": (0.93, 0.77, 0.85, 0.62),
            "IGEBM": (0.43, 0.69, 0.54, 0.69),
            "JEM": (0.89, 0.75, 0.87, 0.79),
            "JEM++, M = 20": (0.94, 0.77, 0.88, 0.90),
        },
    },
}

ECE: dict[str, dict[str, float]] = {  # Figure 4, in percent
    "cifar10": {
        "SADA-JEM, K = 10": 2.04,
        "JEM, K = 20": 4.2,
        "Softmax without BatchNorm": 5.5,
    },
}

ABLATION: dict[str, tuple[Row, ...]] = {
    "cifar10": (  # Table 5, K = 10
        Row("JEM", 89.5, None, 36.2),
        Row("JEM + SAM", 90.1, None, 35.0),
        Row("JEM++", 93.5, None, 37.1),
        Row("JEM++ + SAM", 94.1, None, 36.6),
        Row("JEM++ w/o DA", 93.6, None, 12.9),
        Row("JEM++ w/o DA + energy L2 (fails after epoch 110)", 93.4, None, None),
        Row("SADA-JEM", 96.0, None, 11.4),
    ),
}

RHO: dict[str, tuple[Row, ...]] = {
    "cifar10": (  # Table 6, K = 10
        Row("SAM, rho = 0.05", 94.8, None, 10.9),
        Row("SAM, rho = 0.1", 95.5, None, 11.4),
        Row("SAM, rho = 0.2", 96.0, None, 11.4),
        Row("SAM, rho = 0.4", 95.1, None, 14.1),
        Row("SAM, rho = 0.8", 91.9, None, 19.5),
        Row("ASAM, rho = 0.5", 94.2, None, 12.1),
        Row("ASAM, rho = 1", 94.5, None, 11.9),
        Row("ASAM, rho = 2", 94.8, None, 11.7),
        Row("ASAM, rho = 4", 95.3, None, 11.5),
        Row("ASAM, rho = 8 (diverged after epoch 2)", None, None, None),
    ),
}
