"""`--mode=plan --for=eval`: what each part of an evaluation takes here, before one is begun."""

from __future__ import annotations

import functools
import itertools
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import duration
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import DatasetSpec, get_spec
from sadajem_jax.evaluation import parts
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import Cost, Speeds
from sadajem_jax.evaluation.options import Options
from sadajem_jax.evaluation.parts import Piece
from sadajem_jax.evaluation.passes import Passes
from sadajem_jax.evaluation.predictions import HOUR, together
from sadajem_jax.evaluation.robustness.purification import part as purification
from sadajem_jax.evaluation.robustness.purification.presets import PRESETS
from sadajem_jax.inference import build
from sadajem_jax.inference.model import Model
from sadajem_jax.workdir.settings import Settings

FIELD = "hill"
ROW = "{:44} {:>12} {:>14}  {}"


def plan(settings: Settings, options: Options) -> None:
    """Prints operations and time of every piece that an evaluation of such a run is made of.

    Nothing is trained, read or downloaded: the network has first weights, the images are black.

    Args:
      settings: of the run.
      options: its `eval` section.
    """
    asked = imagined(settings, options)
    model = asked.model
    speeds = Speeds(model.network, model.variables, model.image_shape, options.batch_size)
    network = model.network
    print(
        f"evaluation of a WRN-{network.depth}-{network.width} on {model.spec.name} "
        f"({speeds.forward_flop / 1e9:.4g} GFLOP an image); at most, here: "
        f"{jax.local_device_count()} {jax.devices()[0].device_kind}",
        flush=True,
    )
    print(ROW.format("", "TFLOP", "time", ""))
    pieces = parts.chosen(options.only, parts.of_named(options.only, asked))
    named = [parts.part_of(word) for word in options.only]
    by_part = {name: list(of) for name, of in itertools.groupby(pieces, lambda p: p.part)}
    done = [_say_part(of, name, speeds, named) for name, of in by_part.items()]
    print(f"all that is done: {duration(sum(done))}", flush=True)
    if "robustness" in by_part:
        _say_field_protocol(asked, speeds)


def _say_part(pieces: list[Piece], name: str, speeds: Speeds, named: Sequence[str]) -> float:
    """Prints a part's rows; its seconds if it would be done, else 0."""
    for piece in pieces:
        _say(piece, speeds)
    cost = together(pieces)
    seconds = speeds.seconds(cost)
    left_out = seconds > HOUR and name not in named
    if len(pieces) > 1 or left_out:
        why = f"only with --config.eval.only={name}" if left_out else ""
        _row(f"all of {name}", speeds, cost, why)
    return 0.0 if left_out else seconds


def _row(name: str, speeds: Speeds, cost: Cost, why: str = "") -> None:
    tflop = f"{speeds.flop(cost) / 1e12:,.4g}"
    print(ROW.format(name, tflop, duration(speeds.seconds(cost)), why), flush=True)


def _say_field_protocol(asked: Asked, speeds: Speeds) -> None:
    """Prints what purification takes at the lengths that others report it at."""
    protocol = PRESETS[FIELD]
    options = asked.options._replace(purification=protocol)
    print(f"with --config.eval.purification.preset={FIELD} and images={protocol.images}:")
    for piece in purification.pieces(asked._replace(options=options)):
        _say(piece, speeds)


def _say(piece: Piece, speeds: Speeds) -> None:
    """Prints a piece's row, or why it cannot be done."""
    if piece.cost is None:
        print(ROW.format(piece.name, "", "", "no time to speak of"), flush=True)
        return
    try:
        _row(piece.name, speeds, piece.cost())
    except UserError as error:
        print(ROW.format(piece.name, "", "", f"not done: {error}"), flush=True)


def imagined(settings: Settings, options: Options) -> Asked:
    """What an evaluation of such a run would be handed, of first weights and black images."""
    spec = get_spec(settings["data.name"])
    network = build.network(settings, spec)
    x = jnp.zeros((1, *spec.image_shape))
    variables = jax.jit(network.init)(jax.random.key(0), x)
    buffer = np.zeros((settings["buffer.size"], *spec.image_shape), np.float32)
    model = build.model(settings, variables, buffer, batch_size=options.batch_size)
    model.training_images = black(spec, spec.num_train - settings["data.val_size"])
    return _asked(model, settings, options)


def _asked(model: Model, settings: Settings, options: Options) -> Asked:
    test = functools.cache(lambda: black(model.spec, model.spec.num_test))
    passes = Passes(model, test, batch_size=options.batch_size)
    data_dir = settings["data.data_dir"] or None
    return Asked(model, passes, pathlib.Path(), settings, options, data_dir)


def black(spec: DatasetSpec, count: int) -> Images:
    """Images in the shape of a data set, in turns of its classes."""
    labels = np.arange(count, dtype=np.int32) % spec.num_classes
    return Images(np.zeros((count, *spec.image_shape), np.uint8), labels)
