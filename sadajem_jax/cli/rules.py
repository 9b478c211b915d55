"""What a config's fields may be: a table, and the few rules that tie fields together."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import ml_collections

from sadajem_jax import objective
from sadajem_jax.cli.config import nearest_field
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import comma_list, nearest
from sadajem_jax.data import specs
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import ood_sets, parts
from sadajem_jax.evaluation.quality import labels
from sadajem_jax.evaluation.robustness.purification.presets import PRESETS
from sadajem_jax.further_terms import TERMS
from sadajem_jax.training import recipes, schedule
from sadajem_jax.workdir.settings import flat


class Rule(NamedTuple):
    """A field's type, a test of its value, and the words for what passes."""

    kind: type
    test: Callable[[Any], bool]
    allowed: str


def _at_least(low: int) -> Rule:
    return Rule(int, lambda v: v >= low, f"a whole number, at least {low}")


def _number(low: float, *, above: bool = False) -> Rule:
    words = f"a finite number {'above' if above else 'at least'} {low:g}"
    return Rule(float, lambda v: math.isfinite(v) and (v > low if above else v >= low), words)


def _one_of(*words: str) -> Rule:
    return Rule(str, lambda v: v in words, " or ".join(words))


_BOOL = Rule(bool, lambda v: True, "True or False")
_TEXT = Rule(str, lambda v: True, "text")

_SHARE = Rule(float, lambda v: 0 <= v < 1, "a number from 0 to below 1")


def _is_milestones(text: str) -> bool:
    try:
        schedule.milestones(text)
    except ValueError:
        return False
    return True


RULES: dict[str, Rule] = {
    "system": Rule(str, bool, "a word"),
    "seed": Rule(int, lambda v: 0 <= v < 2**31, "a whole number from 0 to 2^31 - 1"),
    "deterministic": _BOOL,
    "keep_compiled": _BOOL,
    "init_from": _TEXT,
    "data.name": _one_of(*specs.NAMES),
    "data.data_dir": _TEXT,
    "data.val_size": _at_least(0),
    "data.pad": _at_least(0),
    "data.flip": _BOOL,
    "data.noise_std": _number(0),
    "data.px_pad": _at_least(0),
    "data.px_flip": _BOOL,
    "data.px_noise_std": _number(0),
    "data.px_dequantise": _BOOL,
    "model.depth": Rule(
        int, lambda v: v >= 10 and (v - 4) % 6 == 0, "6 n + 4: 10, 16, 22, 28, ..."
    ),
    "model.width": _at_least(1),
    "model.norm": _one_of("batch", "none"),
    "model.norm_groups": _at_least(1),
    "model.dtype": _one_of("float32", "bfloat16"),
    "sgld.num_steps": _at_least(0),
    "sgld.step_size": _number(0, above=True),
    "sgld.noise_std": _number(0),
    "sgld.noise_first": _BOOL,
    "sgld.grad_clip": Rule(float, lambda v: v > 0, "a number above 0 (inf: no clip)"),
    "sgld.clip_images": _BOOL,
    "sgld.init": _one_of("informative", "uniform"),
    "sgld.batch_norm": _one_of("train", "eval"),
    "buffer.size": _at_least(1),
    "buffer.num_shards": _at_least(1),
    "buffer.reinit_prob": Rule(float, lambda v: 0 <= v <= 1, "a probability from 0 to 1"),
    "objective.px_weight": _number(0),
    "objective.pyx_weight": _number(0),
    "objective.l2_coeff": _number(0),
    "objective.l2_form": _one_of(*objective.L2_FORMS),
    "objective.class_conditional": _BOOL,
    "objective.further": _TEXT,
    "objective.further_weight": _number(0),
    "sam.rho": _number(0),
    "sam.adaptive": _BOOL,
    "train.num_epochs": _at_least(1),
    "train.epoch_of": _one_of(*schedule.STREAMS),
    "train.num_steps": _at_least(0),
    "train.batch_size_px": _at_least(1),
    "train.batch_size_label": _at_least(1),
    "train.learning_rate": _number(0, above=True),
    "train.schedule": _one_of(*schedule.SCHEDULES),
    "train.milestones": Rule(
        str, _is_milestones, "a rising comma list of shares of the run: 0.3,0.6,0.9 or 1/2,3/4"
    ),
    "train.decay": Rule(float, lambda v: 0 < v <= 1, "a number above 0, at most 1"),
    "train.optimizer": _one_of(*recipes.OPTIMIZERS),
    "train.momentum": _SHARE,
    "train.beta1": _SHARE,
    "train.beta2": _SHARE,
    "train.weight_decay": _number(0),
    "train.micro_batches": _at_least(1),
    "train.ema_decay": _SHARE,
    "train.max_restarts": _at_least(0),
    "train.on_divergence": _one_of("retry", "double_steps"),
    "checkpoint.every_steps": _at_least(1),
    "checkpoint.keep": _at_least(1),
    "log.every_steps": _at_least(1),
    "log.samples_every_steps": _at_least(1),
    "eval.batch_size": _at_least(1),
    "eval.every_epochs": _at_least(0),
    "eval.checkpoint": Rule(
        str, lambda v: v in ("last", "best", "ema") or v.isdigit(), "last, best, ema or a step"
    ),
    "eval.only": _TEXT,
    "eval.force": _BOOL,
    "eval.noise_std": _number(0),
    "eval.num_bins": _at_least(1),
    "eval.ood": _TEXT,
    "eval.inception": _TEXT,
    "eval.features": _TEXT,
    "eval.images": _TEXT,
    "eval.against": _TEXT,
    "eval.fresh_images": _at_least(1),
    "eval.attack_images": _at_least(1),
    "eval.attack_dtype": _one_of("float32", "bfloat16"),
    "eval.purification.preset": Rule(
        str, lambda v: v == "" or v in PRESETS, f"{', '.join(PRESETS)} or empty"
    ),
    "eval.purification.images": _at_least(0),
    "eval.purification.num_steps": _at_least(1),
    "eval.purification.noise_std": _number(0),
    "eval.purification.clip": _BOOL,
    "eval.purification.attack_chains": _at_least(1),
    "eval.purification.verify_chains": _at_least(1),
    "eval.purification.attack_steps": _at_least(1),
    "eval.landscape.images": _at_least(1),
    "eval.landscape.directions": _at_least(1),
    "eval.landscape.points": _at_least(3),
    "eval.landscape.grid": _at_least(3),
    "eval.landscape.span": _number(0, above=True),
    "eval.landscape.eigenvalues": _at_least(1),
    "eval.landscape.lanczos_steps": _at_least(1),
    "eval.landscape.trace_probes": _at_least(2),
}


def check(config: ml_collections.ConfigDict, given: Collection[str] = ()) -> None:
    """Refuses a config that cannot be run, before anything is compiled or downloaded.

    Args:
      config: any.
      given: the fields that the command line sets.

    Raises:
      UserError: one line with the field, what was found and what is allowed.
    """
    fields = flat(config.to_dict())
    for name in RULES:
        if name not in fields:
            raise UserError(f"the config lacks config.{name}, which must be {RULES[name].allowed}")
    for name, value in fields.items():
        if name not in RULES:
            raise UserError(f"unknown field config.{name}{nearest_field(name, RULES)}")
        _check_field(name, value, RULES[name])
    _check_lists(config)
    for field in given:
        _check_places(field, fields[field])
    _check_together(config)
    _check_preset(config, given)


def _check_field(name: str, value: Any, rule: Rule) -> None:
    kinds = (int, float) if rule.kind is float else (rule.kind,)
    is_kind = isinstance(value, kinds) and (rule.kind is bool or not isinstance(value, bool))
    if is_kind and rule.test(value):
        return
    choices = rule.allowed.split(" or ") if rule.kind is str else []
    hint = nearest(value, choices) if isinstance(value, str) else ""
    raise UserError(f"config.{name} must be {rule.allowed}, found {value!r}{hint}")


def _check_lists(config: ml_collections.ConfigDict) -> None:
    """The comma lists of `eval`: every word must be known, none may stand twice."""
    for field in ("only", "features", "images"):
        words = comma_list(config.eval[field])
        if again := [word for word in words if words.count(word) > 1]:
            raise UserError(f"config.eval.{field} lists {again[0]} twice; keep one")
    for part in map(parts.part_of, comma_list(config.eval.only)):
        if part not in parts.NAMES:
            known = f"of {', '.join(parts.NAMES)}, found {part!r}{nearest(part, parts.NAMES)}"
            raise UserError(f"config.eval.only must be a comma list {known}")
    found = []
    for name in comma_list(config.eval.ood):
        if problem := ood_sets.check_name(name):
            raise UserError(f"config.eval.ood lists the unknown set {problem}")
        found.append(ood_sets.label_of(name))
    if twice := [label for label in found if found.count(label) > 1]:
        raise UserError(f"config.eval.ood lists {twice[0]} twice; numbers are stored by that name")


PLACES = {
    "eval.images": ((labels.BUFFER, labels.FRESH), "folders and .npz files"),
    "eval.features": ((labels.EFFICIENTNET,), "folders of runs"),
}


def _check_places(field: str, value: Any) -> None:
    """Of a comma list of words and places, given now: what is no word must be there."""
    known, others = PLACES.get(field, ((), ""))
    for name in comma_list(value) if known else ():
        if name not in known and not pathlib.Path(name).expanduser().exists():
            raise UserError(
                f"config.{field} must be a comma list of {', '.join(known)}, {others}, found "
                f"{name!r}, and nothing of that name is there{nearest(name, known)}"
            )


def _check_together(config: ml_collections.ConfigDict) -> None:
    """The rules that tie fields together, in the order in which they are read."""
    _check_images(config)
    _check_objective(config)
    _check_buffer(config)
    _check_batches(config)
    _check_norm_parts(config)
    _check_evaluated(config)
    _check_landscape(config)
    _check_restarts(config)


def _check_images(config: ml_collections.ConfigDict) -> None:
    spec, val_size = get_spec(config.data.name), config.data.val_size
    some = f"below {spec.num_train:,}"
    _refuse_unless("data.val_size", config, val_size < spec.num_train, some)
    for pad in ("pad", "px_pad"):
        inside = config.data[pad] < spec.image_size
        _refuse_unless(f"data.{pad}", config, inside, f"< {spec.image_size}")


def _check_buffer(config: ml_collections.ConfigDict) -> None:
    """Its strata are equal, and so are the starts of each class where these differ."""
    shards, classes = config.buffer.num_shards, get_spec(config.data.name).num_classes
    alike = config.sgld.init == "uniform"
    whole = shards if alike else math.lcm(shards, classes)
    starts = "" if alike else f", and the same number of starts for each of the {classes} classes"
    why = f"a multiple of {whole} (equal parts for buffer.num_shards = {shards}{starts})"
    _refuse_unless("buffer.size", config, config.buffer.size % whole == 0, why)


def _check_batches(config: ml_collections.ConfigDict) -> None:
    """Both fit into the training images; that of chains into the buffer, in equal parts."""
    train, buffer = config.train, config.buffer
    there = get_spec(config.data.name).num_train - config.data.val_size
    fits = f"at most the {there:,} training images of {config.data.name}"
    for name in ("batch_size_px", "batch_size_label"):
        _refuse_unless(f"train.{name}", config, train[name] <= there, fits)
    equal = train.batch_size_px % buffer.num_shards == 0
    shards = f"a multiple of buffer.num_shards ({buffer.num_shards})"
    _refuse_unless("train.batch_size_px", config, equal, shards)
    room = buffer.size >= train.batch_size_px
    _refuse_unless("buffer.size", config, room, f"at least the batch ({train.batch_size_px})")


def _check_norm_parts(config: ml_collections.ConfigDict) -> None:
    """Micro-batches are equal, and so are the parts of each that are normalised apart."""
    parts = config.train.micro_batches
    runs = parts * config.model.norm_groups
    each = f"a multiple of {runs} (model.norm_groups times micro_batches)"
    for name in ("batch_size_px", "batch_size_label"):
        field, size = f"train.{name}", config.train[name]
        _refuse_unless(field, config, size % parts == 0, f"a multiple of micro_batches ({parts})")
        _refuse_unless(field, config, size % runs == 0, each)


def _check_evaluated(config: ml_collections.ConfigDict) -> None:
    """A best and an averaged model are there only where the training keeps them."""
    choice = config.eval.checkpoint
    judged = choice != "best" or (config.data.val_size > 0 and config.eval.every_epochs > 0)
    why = "last or ema: best needs data.val_size and eval.every_epochs, it is never judged on tests"
    _refuse_unless("eval.checkpoint", config, judged, why)
    averaged = choice != "ema" or config.train.ema_decay > 0
    _refuse_unless("eval.checkpoint", config, averaged, "last: ema needs train.ema_decay above 0")


def _check_landscape(config: ml_collections.ConfigDict) -> None:
    landscape = config.eval.landscape
    found = landscape.eigenvalues <= landscape.lanczos_steps
    most = f"at most eval.landscape.lanczos_steps ({landscape.lanczos_steps}), which find as many"
    _refuse_unless("eval.landscape.eigenvalues", config, found, most)


def _check_restarts(config: ml_collections.ConfigDict) -> None:
    restarts = config.train.max_restarts
    more = f"above train.max_restarts ({restarts}), each restart goes one further back"
    _refuse_unless("checkpoint.keep", config, config.checkpoint.keep > restarts, more)


def _check_objective(config: ml_collections.ConfigDict) -> None:
    weights = config.objective
    something = weights.px_weight > 0 or weights.pyx_weight > 0
    _refuse_unless("objective.pyx_weight", config, something, "above 0, as px_weight is 0")
    uniform = config.sgld.init == "uniform" or not weights.class_conditional
    why = "uniform with objective.class_conditional, where fresh starts must fit any class"
    _refuse_unless("sgld.init", config, uniform, why)


def _check_preset(config: ml_collections.ConfigDict, given: Collection[str]) -> None:
    """A preset may run on fewer images; with other steps or chains it would be another protocol."""
    section, preset = "eval.purification.", config.eval.purification.preset
    fixed = [name for name in given if name.startswith(section)]
    for name in fixed if preset else []:
        if name.removeprefix(section) not in ("preset", "images"):
            raise UserError(
                f"config.{name} is given, and config.{section}preset = {preset} sets it; beside a "
                f"preset only {section}images counts"
            )


def check_training(config: ml_collections.ConfigDict, given: Mapping[str, str]) -> None:
    """Refuses what only a new training can get wrong.

    Args:
      config: checked.
      given: the overrides of the command line.

    Raises:
      UserError: names the field and what to give in its place.
    """
    for name in comma_list(config.objective.further):
        if name not in TERMS:
            known = ", ".join(TERMS) or "none"
            raise UserError(
                f"config.objective.further lists {name!r}, and the terms added by "
                f"--config are: {known}{nearest(name, TERMS)}; see docs/extending.md"
            )
    steps = config.train.num_steps
    if "train.num_epochs" in given and steps > 0:
        raise UserError(
            f"config.train.num_epochs is given, and config.train.num_steps = {steps} sets the "
            f"length; add --config.train.num_steps=0 for epochs"
        )


def _refuse_unless(
    field: str, config: ml_collections.ConfigDict, passes: bool, allowed: str
) -> None:
    if not passes:
        value = flat(config.to_dict())[field]
        raise UserError(f"config.{field} must be {allowed}, found {value!r}")
