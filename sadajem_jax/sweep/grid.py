"""A grid of settings, and the runs that it comes to."""

from __future__ import annotations

import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sadajem_jax.cli import config as config_files
from sadajem_jax.cli import rules
from sadajem_jax.cli.main import default_workdir
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import comma_list
from sadajem_jax.training import experiment, recipes
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.settings import Settings

SYSTEM, SEED = "system", "seed"


class Run(NamedTuple):
    """A run of a sweep.

    Attributes:
      workdir: its folder.
      config: FILE or FILE:NAME.
      point: its values of the grid and its seed, by field.
      overrides: fields of the config that are set, as text.
      settings: all that it comes to.
    """

    workdir: pathlib.Path
    config: str
    point: Mapping[str, str]
    overrides: Mapping[str, str]
    settings: Settings

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.workdir.name


def read(words: Sequence[str]) -> dict[str, list[str]]:
    """--grid's words, FIELD=VALUE,VALUE: {field: values}.

    Raises:
      UserError: for a word of another form, a field or a value given twice, or "seed".
    """
    grid: dict[str, list[str]] = {}
    for word in words:
        field, _, values = word.partition("=")
        field, found = field.strip().removeprefix("config."), comma_list(values)
        if not field or not found:
            raise UserError(f"--grid must be FIELD=VALUE,VALUE,..., found {word!r}")
        if field in grid or len(set(found)) < len(found):
            raise UserError(f"--grid {word}: a field or a value stands twice")
        if field == SEED:
            raise UserError("--grid seed=...: give --seeds N for the seeds 0 to N - 1")
        grid[field] = found
    return grid


def runs(
    config: str,
    grid: Mapping[str, Sequence[str]],
    seeds: int | None,
    fixed: Mapping[str, str],
    root: pathlib.Path,
) -> list[Run]:
    """The product of all values, the seeds of a point one after another; each config is checked.

    Args:
      config: FILE or FILE:NAME.
      grid: {field: values}; "system" stands for the config's NAME.
      seeds: of each point, 0 to seeds - 1; None: the config's own seed alone.
      fixed: overrides of all.
      root: their folders lie in it.

    Raises:
      UserError: for whatever main would refuse in one of their configs, where flags contradict, and
        for a field that would train the same again.
    """
    _require_consistent(config, grid, seeds, fixed)
    axes = [[(field, value) for value in values] for field, values in grid.items()]
    if seeds:
        axes.append([(SEED, str(seed)) for seed in range(seeds)])
    made = [_run(config, dict(point), fixed, root) for point in itertools.product(*axes)]
    names = [run.name for run in made]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"two runs of this grid would share the folder {twice[0]}: rename values")
    return made


def _require_consistent(
    config: str, grid: Mapping[str, Sequence[str]], seeds: int | None, fixed: Mapping[str, str]
) -> None:
    if SYSTEM in grid and ":" in config:
        raise UserError(f"--grid system=... names systems, and so does --config={config}: give one")
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds must be a whole number, at least 1, found {seeds}")
    if seeds and SEED in fixed:
        raise UserError("--seeds and --config.seed are both given: keep one")
    if both := [field for field in grid if field in fixed]:
        raise UserError(f"--grid {both[0]}=... and --config.{both[0]} are both given: keep one")
    if free := [field for field in grid if run_settings.is_free(field)]:
        raise UserError(
            f"--grid {free[0]}=...: it defines no training's result, and each value would train "
            f"the same again; give one for all as --config.{free[0]}=VALUE"
        )


def _run(config: str, point: dict[str, str], fixed: Mapping[str, str], root: pathlib.Path) -> Run:
    spec = f"{config}:{point[SYSTEM]}" if SYSTEM in point else config
    fields = {field: value for field, value in point.items() if field != SYSTEM}
    overrides = {**fixed, **fields}
    made = config_files.load(spec)
    config_files.override(made, overrides)
    rules.check(made, overrides)
    rules.check_training(made, overrides)
    experiment.require_mirrors(recipes.of(made))
    words = [pathlib.Path(default_workdir(spec)).name]
    words += [f"{field}={value}" for field, value in fields.items()]
    name = "__".join(re.sub(r"[^\w.=+-]", "-", word) for word in words)
    settings = run_settings.flat(made.to_dict())
    return Run(root / name, spec, point, overrides, settings)
