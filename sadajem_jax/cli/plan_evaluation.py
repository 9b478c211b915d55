"""`--mode=plan --for=eval`: what each part of an evaluation takes here, before one is begun."""

from __future__ import annotations

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.words import duration
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import DatasetSpec, get_spec
from sadajem_jax.evaluation import parts
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import HOUR, Cost, Speeds, total
from sadajem_jax.evaluation.options import Options
from sadajem_jax.evaluation.parts import Piece
from sadajem_jax.evaluation.passes import Passes
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
    wanted = options.only or parts.NAMES
    names = [name for name in parts.NAMES if name in wanted]
    done = [
        _say(piece, speeds, piece.part in options.only)
        for name in names
        for piece in parts.of(name)(asked)
    ]
    print(f"all that is done: {duration(speeds.seconds(total(filter(None, done))))}", flush=True)
    if "robustness" in names:
        _say_field_protocol(asked, speeds)


def _say_field_protocol(asked: Asked, speeds: Speeds) -> None:
    """Prints what purification takes at the lengths that others report it at."""
    options = asked.options._replace(purification=PRESETS[FIELD])
    print(f"with --config.eval.purification.preset={FIELD}:")
    for piece in purification.pieces(asked._replace(options=options)):
        _say(piece, speeds, is_named=True)


def _say(piece: Piece, speeds: Speeds, is_named: bool) -> Cost | None:
    """Prints a piece's row; its cost if it would be done."""
    if piece.cost is None:
        print(ROW.format(piece.name, "", "", "no time to speak of"), flush=True)
        return None
    try:
        cost = piece.cost()
    except UserError as error:
        print(ROW.format(piece.name, "", "", f"not done: {error}"), flush=True)
        return None
    seconds = speeds.seconds(cost)
    left_out = seconds > HOUR and not is_named
    why = f"only with --config.eval.only={piece.part}" if left_out else ""
    tflop = f"{speeds.flop(cost) / 1e12:,.4g}"
    print(ROW.format(piece.name, tflop, duration(seconds), why), flush=True)
    return None if left_out else cost


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
