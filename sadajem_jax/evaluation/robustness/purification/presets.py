"""How a purified classifier is attacked: the settings, and named sets of them.

This file costs little to import: the command line checks names against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Purification(NamedTuple):
    """Of the attack on the model behind its own chain.

    Attributes:
      images: test images that are attacked.
      num_steps: of the chain that purifies.
      noise_std: its sigma; 0 makes all chains of an image one.
      clip: whether score and image values are clipped as in training, or not at all.
      attack_chains: chains averaged while an attack searches.
      verify_chains: chains averaged to judge what it found.
      attack_steps: of PGD.
    """

    images: int
    num_steps: int
    noise_std: float
    clip: bool
    attack_chains: int
    verify_chains: int
    attack_steps: int


PRESETS = {
    "short": Purification(
        images=20,
        num_steps=10,
        noise_std=0.0,
        clip=True,
        attack_chains=4,
        verify_chains=20,
        attack_steps=50,
    ),
    # Hill, Mitchell and Zhu 2021 (arXiv 2005.13525) and their released code, point0bar1/ebm-defense
    "hill": Purification(
        images=500,
        num_steps=1500,
        noise_std=0.01,
        clip=False,
        attack_chains=15,
        verify_chains=150,
        attack_steps=50,
    ),
}


def resolve(section: Mapping[str, Any]) -> Purification:
    """The settings that a section of a config asks for.

    Args:
      section: "preset", and the fields of `Purification`, which count where the preset is "".

    Examples:
      >>> resolve({"preset": "hill"}).num_steps
      1500
      >>> resolve({"preset": "", **PRESETS["short"]._asdict(), "num_steps": 20}).num_steps
      20
    """
    if section["preset"]:
        return PRESETS[section["preset"]]
    return Purification(**{name: section[name] for name in Purification._fields})
