"""The parts of a session: each a command that prints one JSON object last, and its time limit."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

PYTHON = sys.executable
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


class Part(NamedTuple):
    """One part.

    Attributes:
      name: of its files.
      title: what it finds out.
      argv: the command.
      limit: seconds after which it is ended.
      xla_flags: given to XLA besides those of the environment.
    """

    name: str
    title: str
    argv: tuple[str, ...]
    limit: int
    xla_flags: str = ""


class Plan(NamedTuple):
    """What a session is made of.

    Attributes:
      out: its folder.
      target: the card that predictions are for, of `gpu_program.targets`.
      is_small: whether to run at the least size, to try the session itself.
      data_dir: prepared tensorflow-datasets, "": the usual place.
      training_steps: of the short training.
      device: the card that it runs on, as JAX calls it; "cpu" without one.
    """

    out: pathlib.Path
    target: str
    is_small: bool = False
    data_dir: str = ""
    training_steps: int = 1000
    device: str = "cpu"


LARGE = {"depth": 28, "width": 10, "batch_size_px": 64, "batch_size_label": 128}
SMALL = {"depth": 10, "width": 1, "batch_size_px": 8, "batch_size_label": 8, "image_size": 8}
STEPS = (("bfloat16", 5), ("float32", 10), ("bfloat16", 10), ("float32", 5))


def of(plan: Plan) -> list[Part]:
    """All parts, the most telling first."""
    first, *others = [_step(plan, *settings) for settings in STEPS]
    return [
        Part("facts", "What the machine is", _module("session.facts"), 60),
        Part("ceilings", "What the card reaches", _module("session.ceilings", plan), 120),
        first,
        Part("tests", "Tests that also run on a GPU", _module("session.tests", plan), 420),
        _peers(plan, "bfloat16", 5, ("eager", "channels_last")),
        _profile(plan, *STEPS[0]),
        others[0],
        _deterministic(first),
        Part("evaluation", "Passes of an evaluation", _network(plan, "session.evaluation"), 180),
        *others[1:],
        _peers(plan, "float32", 5, ("eager", "channels_last")),
        Part("attack", "AutoAttack", _network(plan, "autoattack"), 300),
        *[_predicted(plan, *settings) for settings in STEPS[:2]],
        _peers(plan, "bfloat16", 5, ("compiled",)),
        _training(plan),
    ]


def named(plan: Plan, names: Sequence[str]) -> list[Part]:
    """The parts of these names, in the session's order; all for none.

    Raises:
      KeyError: of the first name that is no part's.
    """
    found = {part.name: part for part in of(plan)}
    unknown = [name for name in names if name not in found]
    if unknown:
        raise KeyError(unknown[0])
    return [part for name, part in found.items() if name in names or not names]


def _flags(given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"--{name}={value}" for name, value in given.items())


def _module(name: str, plan: Plan | None = None, **given: Any) -> tuple[str, ...]:
    small = ("--small",) if plan is not None and plan.is_small else ()
    return (PYTHON, "-m", f"benchmarks.{name}", *_flags(given), *small)


def _of_step(plan: Plan, dtype: str, num_sgld_steps: int) -> dict[str, Any]:
    sizes = SMALL if plan.is_small else LARGE
    return {**sizes, "dtype": dtype, "num_sgld_steps": 1 if plan.is_small else num_sgld_steps}


def _step(plan: Plan, dtype: str, num_sgld_steps: int) -> Part:
    rounds = 2 if plan.is_small else 7
    name, title = (
        f"step_{dtype}_{num_sgld_steps}",
        f"A training step, {dtype}, K = {num_sgld_steps}",
    )
    given = _of_step(plan, dtype, num_sgld_steps) | {"rounds": rounds, "target": plan.target}
    given["hlo"] = plan.out.absolute() / f"{name}.hlo"
    return Part(name, title, _module("session.step", **given), 240)


def _profile(plan: Plan, dtype: str, num_sgld_steps: int) -> Part:
    given = _of_step(plan, dtype, num_sgld_steps) | {"target": plan.target}
    given["trace"] = plan.out.absolute() / "trace"
    title = f"Where a step's time goes, {dtype}, K = {num_sgld_steps}"
    return Part("profile", title, _module("session.profile", **given), 240)


def _deterministic(step: Part) -> Part:
    name, title = f"{step.name}_det", f"{step.title}, deterministic"
    argv = tuple(word.replace(f"{step.name}.hlo", f"{name}.hlo") for word in step.argv)
    return step._replace(name=name, title=title, argv=argv, xla_flags=DETERMINISTIC)


def _peers(plan: Plan, dtype: str, num_sgld_steps: int, forms: Sequence[str]) -> Part:
    given = _of_step(plan, dtype, num_sgld_steps) | {"rounds": 2 if plan.is_small else 15}
    compiles = "compiled" in forms
    name = f"peers_{dtype}_{num_sgld_steps}" + "_compiled" * compiles
    title = f"Beside PyTorch{', compiled' * compiles}, {dtype}, K = {num_sgld_steps}"
    argv = (*_module("peers", **given), "--forms", *forms)
    return Part(name, title, argv, 420 if compiles else 240)


def _predicted(plan: Plan, dtype: str, num_sgld_steps: int) -> Part:
    given = _of_step(plan, dtype, num_sgld_steps) | {"target": plan.target}
    title = f"The step compiled apart from the card, {dtype}, K = {num_sgld_steps}"
    return Part(f"program_{dtype}_{num_sgld_steps}", title, _module("gpu_program", **given), 300)


def _network(plan: Plan, module: str) -> tuple[str, ...]:
    if not plan.is_small:
        return _module(module, depth=28, width=10)
    return _module(module, depth=10, width=1, image_size=8, batch_size=4)


def _training(plan: Plan) -> Part:
    given = {"workdir": plan.out / "training", "data_dir": plan.data_dir}
    steps = {"steps": 4 if plan.is_small else plan.training_steps}
    argv = _module("session.training", plan, **given, **steps)
    return Part("training", "A short training and its report", argv, 600)
