"""What a reader is told instead of our names of systems, sets and scores; where numbers stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULT_SYSTEM = "sadajem"
SYSTEMS = {  # in the order of tables
    "sadajem": "SADA-JEM",
    "asam": "SADA-JEM with ASAM",
    "jem": "JEM",
    "jem_sam": "JEM + SAM",
    "jempp": "JEM++",
    "jempp_sam": "JEM++ + SAM",
    "jempp_no_da": "JEM++ w/o DA",
    "jempp_no_da_l2": "JEM++ w/o DA + energy L2",
    "igebm": "IGEBM's objective, on this network",
    "softmax": "Softmax",
    "softmax_sam": "Softmax + SAM",
    "softmax_no_bn": "Softmax without BatchNorm",
}
DATA = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn_cropped": "SVHN",
    "celeb_a": "CelebA",
    "digits": "handwritten digits",
    "cifar10_interpolated": "CIFAR-10 interpolated",
    "cifar100_interpolated": "CIFAR-100 interpolated",
    "gaussian_noise": "Gaussian noise",
}
SCORES = {
    "log_density": "log p(x)",
    "max_prob": "max p(y|x)",
    "approx_mass": "approximate mass",
}
# Where our Inception Score and FID stand, the released protocol first: that is what the paper used.
INCEPTION_SCORE = ("samples/released/inception_score", "samples/inception_score")
FID = ("samples/released/fid", "samples/fid")
RELEASED = "samples/released/"
UNDER_NOISE = "test/accuracy_noisy"


def system(word: str) -> str:
    """A system's name; a word that is not ours is its own.

    Examples:
      >>> system("jempp"), system("mine")
      ('JEM++', 'mine')
    """
    return SYSTEMS.get(word, word)


def data_set(label: str) -> str:
    """A set's name.

    Examples:
      >>> data_set("cifar10"), data_set("uniform_noise")
      ('CIFAR-10', 'uniform noise')
    """
    return DATA.get(label, label.replace("_", " "))


def noise_of(behind: Mapping[str, Any]) -> str:
    """The deviation of the noise that an accuracy was taken under, from what is behind it.

    Examples:
      >>> noise_of({"settings": {"noise_std": 0.03}}), noise_of({})
      ('0.03', 'unknown strength')
    """
    found = behind.get("settings", {}).get("noise_std")
    return "unknown strength" if found is None else f"{found:g}"


def share(size: Mapping[str, Any] | None) -> str:
    """How much of an official set there was; "" where that is all, or nobody knows.

    Examples:
      >>> share({"images": 10_000, "official": 26_032}), share({"images": 9, "official": None})
      ('10,000 of 26,032', '')
    """
    images, official = (size or {}).get("images"), (size or {}).get("official")
    if images is None or official is None or images == official:
        return ""
    return f"{images:,} of {official:,}"
