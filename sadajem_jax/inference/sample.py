"""--mode=sample: images of a trained model, from its buffer or by new chains."""

from __future__ import annotations

import jax
import numpy as np

from sadajem_jax.console.errors import UserError
from sadajem_jax.console.progress import Progress
from sadajem_jax.inference import export, image_files, pictures
from sadajem_jax.inference.generate import row_labels
from sadajem_jax.inference.model import Model
from sadajem_jax.inference.sample_options import REFINED, Options, class_asked
from sadajem_jax.randomness import run_key


def run(model: Model, options: Options) -> None:
    """Makes the images and writes them, see `export.write`.

    Raises:
      UserError: if there are no n images to be refined, or nothing can be written.
    """
    images, labels = MAKE[options.source](model, options)
    written = export.write(options.out, images, labels, model.class_names)
    print(f"{len(images):,} images of step {model.step:,}: {written}", flush=True)


def of_buffer(model: Model, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """The buffer's first n rows, and the classes of their chains, or else those seen in them."""
    n = len(model.buffer) if options.n is None else options.n
    images, labels = pictures.to_uint8(model.buffer[:n]), model.classes(n)
    return images, model.predict(images) if labels is None else labels


def fresh(model: Model, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """New images; their chains' classes, or else those seen in them."""
    n = len(model.buffer) if options.n is None else options.n
    label = _labels(model, options, n)
    with Progress(f"sampling {n:,} images", unit="") as progress:
        drawn = model.sample(_key(model, options), n, label, options.num_steps, progress=progress)
    return _with_classes(model, drawn, label)


def refined(model: Model, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """The user's images, moved towards higher density; classes as of `fresh`."""
    with Progress(f"reading {options.refine_from}", unit="images") as reading:
        images, note = image_files.load(options.refine_from, model.image_shape, reading)
    print(f"refining {note}", flush=True)
    n = len(images) if options.n is None else options.n
    if n > len(images):
        raise UserError(
            f"--n must be at most {len(images):,}, the images of {options.refine_from}, found {n:,}"
        )
    label, key = _labels(model, options, n), _key(model, options)
    with Progress(f"refining {n:,} images", unit="") as progress:
        moved = model.refine(key, images[:n], options.num_steps, label, progress=progress)
    return _with_classes(model, moved, label)


MAKE = {"buffer": of_buffer, "fresh": fresh, REFINED: refined}


def _key(model: Model, options: Options) -> jax.Array:
    seed = model.seed if options.seed is None else options.seed
    return jax.random.fold_in(run_key(seed), model.step)


def _labels(model: Model, options: Options, n: int) -> np.ndarray | int | None:
    """The classes asked for; without any, those of the model's chains, None if they have none."""
    asked = class_asked(options.label, model.class_names)
    if isinstance(asked, str):  # EACH
        return np.arange(n) % model.num_classes
    return model.classes(n) if asked is None else asked


def _with_classes(model: Model, drawn: np.ndarray, label: object) -> tuple[np.ndarray, np.ndarray]:
    images = pictures.to_uint8(drawn)
    if label is None:
        return images, model.predict(images)
    return images, row_labels(label, len(images), model.num_classes)
