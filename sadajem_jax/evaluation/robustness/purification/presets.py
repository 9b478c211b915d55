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


DEFAULT = "short"
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
      section: "preset", and the fields of `Purification`, which count where the preset is "";
        `images` counts beside a preset too, and 0 is as many as that has, or "short".

    Examples:
      >>> fields = {**PRESETS["short"]._asdict(), "images": 0}
      >>> resolve({**fields, "preset": "hill"}) == PRESETS["hill"]
      True
      >>> fewer = resolve({**fields, "preset": "hill", "images": 50})
      >>> fewer.images, fewer.num_steps
      (50, 1500)
      >>> resolve({**fields, "preset": "", "num_steps": 20})[:2]
      (20, 20)
    """
    preset = PRESETS[section["preset"] or DEFAULT]
    fields = preset._asdict() if section["preset"] else section
    own = {name: fields[name] for name in Purification._fields}
    return Purification(**{**own, "images": section["images"] or preset.images})
