"""--mode=eval: restores a model, runs what the `eval` section names, and writes the report.

A part is one file under evaluation/. Its pieces (one for each out-of-distribution set) are run one
by one; each piece's numbers are on the disk before the next begins. What W then holds:

  W/metrics.json               {name: value}, flat
  W/metrics_provenance.json    {name: checkpoint, step and settings behind it}
  W/evaluation.json            {piece: what was done, when, how fast; or why it could not be}
  W/figures/                   PNG or GIF, and beside each the arrays that it shows, as .npz
  W/report/index.html          all of it on one page
"""

from __future__ import annotations

import functools
import logging
import os
import pathlib
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from sadajem_jax import __version__
from sadajem_jax.cli.rules import EVAL_PARTS, words
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Progress
from sadajem_jax.console.words import duration
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import curves, ood_sets, sharded
from sadajem_jax.evaluation.accuracy import Accuracy
from sadajem_jax.evaluation.calibration import Calibration
from sadajem_jax.evaluation.figure import Figure
from sadajem_jax.evaluation.ood import Scores, compare
from sadajem_jax.inference import model
from sadajem_jax.inference.model import Model
from sadajem_jax.randomness import run_key
from sadajem_jax.report import page as report
from sadajem_jax.train_state import TrainState
from sadajem_jax.wide_resnet import WideResNet
from sadajem_jax.workdir.state_format import checksum
from sadajem_jax.workdir.records import Records

logger = logging.getLogger(__name__)

GRADIENT_SHARE = 4  # a gradient keeps all activations: batches a quarter as large

Item = tuple[str, float] | Figure | str
"""What a piece yields: a number by name, a figure, or a note on how to read them."""


class Subject(NamedTuple):
    """The model that is evaluated.

    Attributes:
      config: of the run, the `eval` section as asked for.
      workdir: W.
      model: with the replay buffer.
      network: the model's, computing in float32.
      checkpoint: "last", "best", "ema" or a step, as text.
      checksum: of the model's variables and buffer.
    """

    config: ml_collections.ConfigDict
    workdir: pathlib.Path
    model: Model
    network: WideResNet
    checkpoint: str
    checksum: str

    @property
    def prefix(self) -> str:
        """Of names: "best/" and "ema/" stand beside the last model's numbers."""
        return f"{self.checkpoint}/" if self.checkpoint in ("best", "ema") else ""


class Piece(NamedTuple):
    """A part, or one set of it.

    Attributes:
      name: "accuracy", "ood/svhn_cropped", ...
      settings: what its numbers depend on besides the checkpoint.
      run: () -> its items.
    """

    name: str
    settings: dict[str, Any]
    run: Callable[[], Iterator[Item]]


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Evaluates the run in `workdir` and writes its report.

    A piece that cannot be done is recorded as "not computed, because ..."; the others go on.

    Args:
      config: of W/config.json, the `eval` section as asked for; checked.
      workdir: W.

    Returns:
      The exit status: 1 if a piece failed for a reason that is no user's, else 0.

    Raises:
      UserError: if W holds no such checkpoint.
    """
    subject = restore(config, workdir)
    print(
        f"evaluating the checkpoint {subject.checkpoint} (step {subject.model.step:,})", flush=True
    )
    failed = [piece.name for piece in pieces(subject) if not _do(subject, piece)]
    print(f"report: {report.write(workdir)}", flush=True)
    if failed:
        logger.error("failed: %s; see the tracebacks above", ", ".join(failed))
    return 1 if failed else 0


def restore(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> Subject:
    """The model that `config.eval.checkpoint` names; writes nothing.

    Raises:
      UserError: if there is no such checkpoint, or it is damaged.
    """
    which = config.eval.checkpoint
    found = model.load(workdir, which)
    made = Model(
        config,
        found.network,
        found.variables,
        found.buffer,
        num_sgld_steps=found.num_sgld_steps,
        step=found.step,
    )
    network = found.network.clone(dtype=jnp.float32)
    return Subject(config, workdir, made, network, which, checksum([made.variables, made.buffer]))


def pieces(subject: Subject) -> Iterator[Piece]:
    """The pieces that `eval.only` names, in order."""
    makers = {
        "accuracy": _accuracy,
        "calibration": _calibration,
        "ood": _ood,
        "samples": _samples,
        "curves": _curves,
    }
    asked = words(subject.config.eval.only) or EVAL_PARTS
    for part in EVAL_PARTS:
        if part in asked:
            yield from makers[part](subject)


def _accuracy(subject: Subject) -> Iterator[Piece]:
    def run() -> Iterator[Item]:
        test = load_test(subject.config)
        yield from _note_on(test, subject.config)
        yield from _accuracy_of(subject.network, _batch_size(subject.config, test))(
            subject.model.variables, *test, "test"
        )

    yield Piece("accuracy", _on_test(subject), run)


def _calibration(subject: Subject) -> Iterator[Piece]:
    config = subject.config

    def run() -> Iterator[Item]:
        test, held_out = load_test(config), _validation_split(config)
        yield from _note_on(test, config)
        on = "half of the test images, and judged on the other half"
        if held_out is not None:
            on = f"the {len(held_out.labels):,} validation images"
        yield f"The temperature was fitted on {on}."
        part = Calibration(
            subject.network, batch_size=_batch_size(config, test), num_bins=config.eval.num_bins
        )
        yield from part(subject.model.variables, *test, held_out=held_out)

    settings = {"num_bins": config.eval.num_bins, "val_size": config.data.val_size}
    yield Piece("calibration", _on_test(subject) | settings, run)


def _ood(subject: Subject) -> Iterator[Piece]:
    config = subject.config

    @functools.cache
    def scores() -> Scores:
        size = max(1, _batch_size(config, load_test(config)) // GRADIENT_SHARE)
        return Scores(subject.network, batch_size=size)

    @functools.cache  # of the test set: once for all sets
    def inside() -> dict[str, np.ndarray]:
        return scores()(subject.model.variables, load_test(config).images)

    def run(name: str) -> Iterator[Item]:
        test = load_test(config)
        found = ood_sets.load(
            name, config.data.name, len(test.labels), config.data.data_dir or None
        )
        yield f"{found.label}: {found.note}."
        yield from _note_on(test, config)
        outside = scores()(subject.model.variables, found.images)
        yield from compare(found.label, inside(), outside)

    for name in words(config.eval.ood):
        piece = f"ood/{ood_sets.label_of(name)}"
        yield Piece(piece, _on_test(subject) | {"set": name}, functools.partial(run, name))


def _samples(subject: Subject) -> Iterator[Piece]:
    """New images are drawn with the run's seed and the checkpoint's step."""
    config, made = subject.config, subject.model

    def run() -> Iterator[Item]:
        from sadajem_jax.evaluation import samples

        key = jax.random.fold_in(run_key(config.seed), made.step)
        yield from samples.evaluate(made, key)

    settings = {"seed": config.seed, "K": made.num_sgld_steps, "batch norm": "as in training"}
    yield Piece("samples", settings, run)


def _curves(subject: Subject) -> Iterator[Piece]:
    train = curves.read_log(subject.workdir / "train_metrics.jsonl")
    validated = curves.read_log(subject.workdir / "eval_metrics.jsonl")
    settings = {"lines": len(train), "validation lines": len(validated)}
    yield Piece("curves", settings, lambda: curves.learning_curves(train, validated))


def _on_test(subject: Subject) -> dict[str, Any]:
    return {"data": subject.config.data.name, "split": "test", "precision": "float32, highest"}


def _note_on(test: Images, config: ml_collections.ConfigDict) -> Iterator[str]:
    """Says so where a folder holds fewer images than the official split."""
    found, official = len(test.labels), get_spec(config.data.name).num_test
    if found != official:
        yield f"{found:,} of the {official:,} official test images of {config.data.name}."


def _do(subject: Subject, piece: Piece) -> bool:
    """Runs a piece unless it was done, and records it; False if it failed unexpectedly."""
    records, name = Records(subject.workdir), subject.prefix + piece.name
    record = {
        "checkpoint": subject.checkpoint,
        "step": subject.model.step,
        "checksum": subject.checksum,
        "settings": piece.settings,
        "version": __version__,
    }
    if not subject.config.eval.force and records.has(name, record):
        print(f"{name}: done before for this checkpoint and these settings", flush=True)
        return True
    progress, start, fine = Progress(name), time.time(), True
    numbers: dict[str, float] = {}
    figures: list[Figure] = []
    notes: list[str] = []
    record |= {"metrics": [], "figures": [], "notes": notes, "hardware": hardware()}
    try:
        with sharded.reporting(progress):
            _collect(piece.run(), numbers, figures, notes)
    except UserError as error:
        record["not_computed"] = str(error)
    except Exception as error:  # one piece's fault is not the others'
        logger.exception("%s failed", name)
        line = str(error).splitlines()[0][:200] if str(error) else ""
        record["not_computed"], fine = f"it failed: {type(error).__name__}: {line}", False
    record |= {"seconds": time.time() - start, "finished": time.strftime("%Y-%m-%d %H:%M:%S")}
    record |= {"images": progress.images, "images_per_second": progress.rate}
    if "not_computed" in record:
        numbers, figures = {}, []  # half a piece is none
    records.write(name, record, {subject.prefix + k: v for k, v in numbers.items()}, figures)
    print(_summary(name, record, numbers), flush=True)
    return fine


def _collect(
    items: Iterator[Item], numbers: dict[str, float], figures: list[Figure], notes: list[str]
) -> None:
    for item in items:
        if isinstance(item, str):
            notes.append(item)
        elif isinstance(item, Figure):
            figures.append(item)
        elif np.isfinite(item[1]):
            numbers[item[0]] = float(item[1])
        else:
            raise UserError(f"{item[0]} is {item[1]}")


def _summary(name: str, record: dict[str, Any], numbers: dict[str, float]) -> str:
    if "not_computed" in record:
        return f"{name}: not computed, because {record['not_computed']}"
    short = {key.removeprefix(f"{name}/"): value for key, value in numbers.items()}
    values = ", ".join(f"{key} {value:.4g}" for key, value in short.items())
    rate = record["images_per_second"]
    speed = f", {rate:,.0f} images/s" if rate else ""
    notes = "".join(f"\n  {note}" for note in record["notes"])
    return f"{name}: {values or 'drawn'} ({duration(record['seconds'])}{speed}){notes}"


def variables(state: TrainState) -> dict[str, Any]:
    """What `model.apply` takes in evaluation mode."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def test_metrics(
    config: ml_collections.ConfigDict, network: WideResNet, state: TrainState
) -> dict[str, float]:
    """Accuracy (0 to 1) and nll (nats an image) on the test split, as test/accuracy, test/nll."""
    test = load_test(config)
    evaluator = _accuracy_of(network.clone(dtype=jnp.float32), _batch_size(config, test))
    return dict(evaluator(variables(state), *test, "test"))


def light(
    config: ml_collections.ConfigDict, network: WideResNet, state: TrainState
) -> dict[str, float]:
    """What is cheap enough to be known while training; compiled at the first call alone.

    Returns:
      val/accuracy and val/nll where `data.val_size` holds images out, else test/accuracy and
      test/nll, which are to be looked at but not to be chosen by.
    """
    held_out = _validation_split(config)
    if held_out is None:
        return test_metrics(config, network, state)
    evaluator = _accuracy_of(network.clone(dtype=jnp.float32), _batch_size(config, held_out))
    return dict(evaluator(variables(state), *held_out, "val"))


@functools.cache
def _accuracy_of(network: WideResNet, batch_size: int) -> Accuracy:
    return Accuracy(network, batch_size=batch_size)


def load_test(config: ml_collections.ConfigDict) -> Images:
    """The test images of the run's data set; read once."""
    return _split(config.data.name, "test", config.data.data_dir or None)


def _validation_split(config: ml_collections.ConfigDict) -> Images | None:
    if config.data.val_size == 0:
        return None
    train = _split(config.data.name, "train", config.data.data_dir or None)
    return loading.hold_out(train, config.data.val_size)[1]


@functools.cache
def _split(name: str, split: str, data_dir: str | None) -> Images:
    return loading.load(get_spec(name), split, data_dir)


def _batch_size(config: ml_collections.ConfigDict, images: Images) -> int:
    """Images a device takes at a time: not above what there are: padding costs time."""
    each = -(-len(images.labels) // jax.local_device_count())
    return min(config.eval.batch_size, each)


@functools.cache
def hardware() -> str:
    """What computes, in words."""
    device = jax.local_devices()[0]
    count = jax.local_device_count()
    kind = device.device_kind if device.platform != "cpu" else _cpu()
    return f"{count} x {kind}" if count > 1 else kind


def _cpu() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
