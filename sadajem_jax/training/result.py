"""What a run comes to: its accuracy on the way, and the numbers of its end in W/metrics.json."""

from __future__ import annotations

import functools
import json
import pathlib
import shlex
from typing import Any

import numpy as np

from sadajem_jax.console import command, processes
from sadajem_jax.console.progress import Progress
from sadajem_jax.console.words import duration
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation import accuracy
from sadajem_jax.train_state import TrainState
from sadajem_jax.training import metric_writer, own_page, sharding
from sadajem_jax.training.identity import Past
from sadajem_jax.training.recipes import Recipe
from sadajem_jax.workdir import best, records

SPEED = "train/images_per_second"
NAMES = {"test": "test", "val": "validation"}
WANTED = ("test/accuracy", "test/nll")


def light(recipe: Recipe, held_out: Images, state: TrainState) -> dict[str, float]:
    """What is cheap enough to be known while training; compiled at the first call alone.

    Returns:
      val/accuracy and val/nll where images are held out, else test/accuracy and test/nll, which
      are to be looked at but not to be chosen by.
    """
    if recipe.val_size:
        return _accuracy(recipe, state.variables, held_out, "val")
    return _accuracy(recipe, state.variables, _test_images(recipe), "test")


def _accuracy(recipe: Recipe, variables: Any, images: Images, split: str) -> dict[str, float]:
    given, size = (sharding.own(variables), *images), recipe.eval_batch_size
    with Progress(f"{NAMES[split]} images") as heard:
        return accuracy.evaluate(
            recipe.network, *given, batch_size=size, split=split, progress=heard
        )


def _test_images(recipe: Recipe) -> Images:
    return _loaded(recipe.spec, "test", recipe.data_dir)


_loaded = functools.cache(loading.load)


def write(recipe: Recipe, workdir: pathlib.Path, state: TrainState) -> None:
    """Evaluates a finished run, and its best model if any, into W/metrics.json, then its page."""
    step = int(state.step)
    found = _accuracy(recipe, state.variables, _test_images(recipe), "test")
    _record(workdir, found, step)
    _show(workdir, step, found | _write_best(recipe, workdir))
    speed = typical_speed(workdir / "train_metrics.jsonl") if processes.is_first() else None
    _record(workdir, {"train/steps": step} | ({SPEED: speed} if speed else {}), step)
    complaint = own_page.made(workdir) if processes.is_first() else ""
    if complaint:
        print(f"warning: {complaint}", flush=True)


def _record(workdir: pathlib.Path, found: dict[str, float], step: int, of: str = "last") -> None:
    """Puts numbers into W/metrics.json; all processes have them, and the first writes."""
    if processes.is_first():
        records.merge_metrics(workdir, found, records.by_training(step, of))


def _show(workdir: pathlib.Path, step: int, found: dict[str, float]) -> None:
    """Puts numbers into W/events/, where HPARAMS compares runs by them."""
    if processes.is_first():
        writer = metric_writer.create(workdir / "events")
        writer.write_scalars(step, found)
        writer.close()


def _write_best(recipe: Recipe, workdir: pathlib.Path) -> dict[str, float]:
    """The best model's numbers, {} where none is kept."""
    chosen = best.read(workdir)
    if chosen is None:
        return {}
    variables = {part: chosen.state.get(part) or {} for part in ("params", "batch_stats")}
    found = _accuracy(recipe, variables, _test_images(recipe), "test")
    of_best = {f"best/{name}": value for name, value in found.items()}
    of_best["best/train/steps"] = chosen.step
    _record(workdir, of_best, chosen.step, "best")
    return of_best


def is_there(past: Past, recipe: Recipe, workdir: pathlib.Path) -> bool:
    """Whether the run asked for is at its end, and W/metrics.json holds its result."""
    asked = past._replace(settings=recipe.settings)
    if past.step != asked.total_steps(recipe.spec.num_train):
        return False
    found = records.read_json(workdir / "metrics.json")
    return found.get("train/steps") == past.step and found.keys() >= set(WANTED)


def report(recipe: Recipe, workdir: pathlib.Path) -> None:
    """Prints the result of a finished run, where everything is, and what to type next."""
    found = records.read_json(workdir / "metrics.json")
    images, speed = found["train/steps"] * recipe.batch_size_label, found.get(SPEED)
    took = f", {duration(images / speed)} of training" if speed else ""
    print(
        f"test accuracy {found['test/accuracy']:.2%}, nll {found['test/nll']:.3f} nats; "
        f"{found['train/steps']:,} steps{took}"
    )
    for name, value in _next(workdir).items():
        print(f"{name + ':':12} {value}", flush=True)


def _next(workdir: pathlib.Path) -> dict[str, str]:
    """{what: where it is, or the command for it}, as a shell takes them."""
    places = {"numbers": "metrics.json", "samples": "samples", "report": "report/index.html"}
    there = {name: workdir / place for name, place in places.items() if (workdir / place).exists()}
    evaluation = [*command.typed(), "--mode=eval", f"--workdir={workdir}"]
    return {name: shlex.quote(str(path)) for name, path in there.items()} | {
        "TensorBoard": shlex.join(["tensorboard", "--logdir", str(workdir / "events")]),
        "evaluate": shlex.join(evaluation),
    }


def typical_speed(path: pathlib.Path) -> float | None:
    """Median of the labelled images a second over the lines of a training log; None without any."""
    lines = path.read_text().splitlines() if path.exists() else []
    rates = [json.loads(line).get("images_per_second") for line in lines]
    known = [rate for rate in rates if rate]
    return float(np.median(known)) if known else None
