"""What a run is called: its system, and the settings in which it differs from that system's own."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from sadajem_jax.cli import config as config_files
from sadajem_jax.console.errors import UserError
from sadajem_jax.report import names
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.settings import Settings

DEFAULT = names.DEFAULT_SYSTEM
NETWORK = ("model.depth", "model.width")
BATCHES = ("train.batch_size_px", "train.batch_size_label")
LENGTH = ("train.num_steps", "train.num_epochs")
CHAIN = "sgld.num_steps"
SAM = ("sam.rho", "sam.adaptive")
UNSAID = ("seed", "system", CHAIN)  # of a row's many seeds; said by the system; said always


def system_of(settings: Settings) -> str:
    """The system's word; a run of before there were any is SADA-JEM's."""
    return str(settings.get("system", DEFAULT))


def has_chain(settings: Settings) -> bool:
    """Whether negative samples are drawn: a plain classifier has no K."""
    return settings["objective.px_weight"] > 0 and settings[CHAIN] > 0


def is_whole(settings: Settings) -> bool:
    """Whether it is what its system's name says: a classifier runs no chains, all others do."""
    return system_of(settings).startswith("softmax") != has_chain(settings)


def describe(settings: Settings, num_sgld_steps: int | None, always: Sequence[str] = ()) -> str:
    """System, K and what was overridden.

    Args:
      settings: of the run.
      num_sgld_steps: its K, which a training may have doubled; None: unknown.
      always: fields that are said though they are the system's own.
    """
    said = [names.system(system_of(settings))]
    if has_chain(settings):
        said.append(f"K = {'unknown' if num_sgld_steps is None else num_sgld_steps}")
        if num_sgld_steps not in (None, settings[CHAIN]):
            said[-1] += f" (began with {settings[CHAIN]})"
    return ", ".join([*said, *_in_words(settings, [*overridden(settings), *always])])


def order(settings: Settings) -> tuple[int, int]:
    """Where a run stands: its system's place, and how much it overrides."""
    words = [*names.SYSTEMS, system_of(settings)]  # one that is not ours stands last
    return words.index(system_of(settings)), len(overridden(settings))


def overridden(settings: Settings) -> list[str]:
    """The fields that define the result and are not as the system's shipped config has them."""
    differ = run_settings.differences(own(settings["data.name"], system_of(settings)), settings)
    return [name for name in differ if name not in UNSAID]


@functools.cache
def own(data: str, system: str) -> Settings:
    """The settings that ship for a system on a data set; SADA-JEM's for a word that is not ours.

    The config files of the program itself are executed for it, and no other.
    """
    file = str(config_files.CONFIG_FOLDER / f"{data}.py")
    spec = file if system == DEFAULT else f"{file}:{system}"
    try:
        shipped = run_settings.flat(config_files.load(spec).to_dict())
    except UserError:
        shipped = {}
    return run_settings.defaults(data) | shipped


def _in_words(settings: Settings, fields: Sequence[str]) -> Iterator[str]:
    """The fields as people say them, each once."""
    names_norm = "sam.adaptive" in fields
    yield from dict.fromkeys(_word(settings, field, names_norm) for field in fields)


def _word(settings: Settings, field: str, names_norm: bool) -> str:
    if field in NETWORK:
        return f"WRN-{settings['model.depth']}-{settings['model.width']}"
    if field in LENGTH:
        return _length(settings)
    if field in BATCHES:
        return "batches " + "/".join(str(settings[name]) for name in BATCHES)
    if field in SAM:
        words = sam_of(settings)
        return words if names_norm else words.removeprefix("SAM, ").removeprefix("ASAM, ")
    return f"{field} = {_value(settings.get(field))}"


def _length(settings: Settings) -> str:
    steps = settings["train.num_steps"]
    return f"{steps:,} steps" if steps else f"{settings['train.num_epochs']} epochs"


def sam_of(settings: Settings) -> str:
    """The radius, and of which norm.

    Examples:
      >>> sam_of({"sam.rho": 0.2, "sam.adaptive": False}), sam_of({"sam.rho": 0.0})
      ('SAM, rho = 0.2', 'no SAM')
    """
    if settings["sam.rho"] == 0:
        return "no SAM"
    return f"{'ASAM' if settings['sam.adaptive'] else 'SAM'}, rho = {settings['sam.rho']:g}"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
