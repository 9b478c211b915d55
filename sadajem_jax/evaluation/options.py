"""The `eval` section of a config, as typed values: what an evaluation was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sadajem_jax.console.words import comma_list
from sadajem_jax.evaluation.robustness.purification.presets import Purification, resolve


class Landscape(NamedTuple):
    """Of the energy around the parameters.

    Attributes:
      images: training images that E is taken on.
      directions: random lines through the parameters.
      points: on a line.
      grid: points along each side of the plane.
      span: how far a line goes either way, in lengths of the filters.
      eigenvalues: largest ones of the Hessian that are reported.
      lanczos_steps: Hessian products that they are found with.
      trace_probes: Hessian products that the trace is estimated with.
    """

    images: int
    directions: int
    points: int
    grid: int
    span: float
    eigenvalues: int
    lanczos_steps: int
    trace_probes: int


class Options(NamedTuple):
    """What an evaluation was asked for; configs/cifar10.py explains each field.

    Attributes:
      only: parts by name; () for all.
      batch_size: images a device takes at a time.
      noise_std: of the noise that the accuracy is also taken under; 0: none.
      num_bins: of the expected calibration error.
      ood: names of the out-of-distribution sets.
      inception: the file of Inception's weights, or "".
      features: further networks that samples are judged by.
      images: what is judged: buffer, fresh, folders, .npz files.
      against: the folder or .npz that they are compared with; "": the training images.
      fresh_images: how many new ones "fresh" draws.
      attack_images: test images that are attacked.
      attack_dtype: what the attacks search with.
      purification: see `Purification`.
      landscape: see `Landscape`.
    """

    only: tuple[str, ...]
    batch_size: int
    noise_std: float
    num_bins: int
    ood: tuple[str, ...]
    inception: str
    features: tuple[str, ...]
    images: tuple[str, ...]
    against: str
    fresh_images: int
    attack_images: int
    attack_dtype: str
    purification: Purification
    landscape: Landscape


LISTS = ("only", "ood", "features", "images")


def read(section: Mapping[str, Any]) -> Options:
    """The options of an `eval` section, checked before."""
    fields = {name: section[name] for name in Options._fields}
    fields |= {name: tuple(comma_list(section[name])) for name in LISTS}
    fields["purification"] = resolve(section["purification"])
    fields["landscape"] = _fill(Landscape, section["landscape"])
    return Options(**fields)


def _fill(kind: Any, section: Mapping[str, Any]) -> Any:
    return kind(**{name: section[name] for name in kind._fields})
