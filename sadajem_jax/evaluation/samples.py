"""What the model generates, shown: buffer, extremes, new chains, a film, and the nearest originals.

Figures 8 to 17 of the paper in one picture a measure, a row a class. Beside the samples stand the
training images nearest to them, the closest pairs first: what was memorised would be seen there.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.special import logsumexp

from sadajem_jax.console.progress import Advance, Joint
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import GRADIENT_FORWARDS, Cost
from sadajem_jax.evaluation.nearest import nearest
from sadajem_jax.evaluation.parts import Item, Piece
from sadajem_jax.inference import pictures, scoring
from sadajem_jax.inference.chains import NO_LABEL
from sadajem_jax.inference.model import Model
from sadajem_jax.inference.scoring import Outputs
from sadajem_jax.randomness import row_keys, run_key
from sadajem_jax.workdir.figure import COLUMNS, Figure

SHOWN = 100  # images of the large grids
PER_CLASS = 10  # images of a class in a row
FILMED = 25  # chains of the film
NEIGHBOURS = 8  # training images beside a sample
PAIRS = 10  # samples of each kind that get them
APART = 12  # pixels on each side of a block of them
COMPARED = 1000  # training images that set the scale for densities and distances
FRAME_SECONDS, LAST_FRAME_SECONDS = 0.15, 1.5
SHUFFLE = 20_230_618  # always the same images
MISSING = -1  # no image of this rank: its class has too few

Found = Iterator[tuple[str, float] | Figure]


def pieces(asked: Asked) -> Iterator[Piece]:
    """One piece: new images are drawn with the run's seed and the checkpoint's step."""
    model = asked.model

    def run(progress: Advance) -> Iterator[Item]:
        key = jax.random.fold_in(run_key(model.seed), model.step)
        yield from asked.on_buffer()
        yield from evaluate(model, key, progress=progress)

    settings = {"seed": model.seed, "K": model.num_sgld_steps, **model.generator.described}
    yield Piece("samples", settings, run, unit="", cost=lambda: cost(model))


def cost(model: Model) -> Cost:
    """Of all of this file: chains, densities, and the comparisons with the training images."""
    size, drawn = model.group_size, len(model.buffer)
    groups = -(-SHOWN // size) - (-(PER_CLASS * model.num_classes) // size) + 1
    real, values = len(model.training_images.labels), np.prod(model.image_shape)
    return Cost(
        forwards=drawn + COMPARED,
        gradients=groups * size * model.length(),
        flop=float(2 * (drawn + COMPARED) * real * values),
    )


def evaluate(
    model: Model, key: jax.Array, num_steps: int | None = None, progress: Advance | None = None
) -> Found:
    """All numbers and figures of this file.

    Densities are those that training raised, unnormalised, in nats, batch norm in evaluation mode:
    log p(x), or f(x)[y] where chains have classes. Chains run as in training.

    Args:
      model: the model.
      key: of the new chains.
      num_steps: their length; by default the life of a buffer row, K / reinit_prob.
      progress: is told how far all of it is, in steps of one chain.

    Yields:
      (name, number) pairs and figures.

    Raises:
      UserError: if the training images are not to be had.
    """
    fresh_key, class_key, film_key = jax.random.split(key, 3)
    heard = Joint(progress, sizes(model, model.length(num_steps)))
    drawn = Outputs(model.logits(model.buffer, heard.of("buffer")))
    yield from buffer(model, drawn)
    yield from extremes(model, drawn)
    fresh = model.sample(fresh_key, SHOWN, num_steps=num_steps, progress=heard.of("new"))
    yield from new_images(model, fresh, model.length(num_steps))
    yield from class_conditional(model, class_key, num_steps, heard.of("of classes"))
    yield film(model, film_key, num_steps, heard.of("film"))
    yield from originals(model, pictures.to_uint8(fresh), heard.of("nearest"))


def sizes(model: Model, num_steps: int) -> dict[str, float]:
    """{pass: what it takes, in steps of one chain}, in order; of the comparisons a guess."""
    size = model.group_size
    of_classes = PER_CLASS * model.num_classes
    return {
        "buffer": len(model.buffer) / GRADIENT_FORWARDS,
        "new": -(-SHOWN // size) * size * num_steps,
        "of classes": -(-of_classes // size) * size * num_steps,
        "film": size * num_steps,
        "nearest": len(model.buffer) / GRADIENT_FORWARDS,
    }


def buffer(model: Model, outputs: Outputs) -> Found:
    """The buffer's first images, its density and confidence, and the training set's density.

    Args:
      model: the model.
      outputs: of the buffer's images.
    """
    real, labels = (some(part, COMPARED) for part in model.training_images)
    classes = model.classes(len(model.buffer))
    of_real = model.log_density(real, None if classes is None else labels)
    yield "samples/training_log_density", float(of_real.mean())
    yield "samples/buffer_log_density", float(scoring.log_density(outputs, classes).mean())
    yield "samples/buffer_confidence", float(scoring.max_prob(outputs).mean())
    images = pictures.to_uint8(model.buffer[:SHOWN])
    caption = f"The first {len(images)} of {len(model.buffer):,} images of the replay buffer."
    yield still("samples_buffer", images, 10, caption, {"images": images})


class Ranked(NamedTuple):
    """Images of each class in the order of a measure: [C, PER_CLASS] indices, or MISSING."""

    highest: np.ndarray
    lowest: np.ndarray


def rank(classes: np.ndarray, values: np.ndarray, num_classes: int, per_class: int) -> Ranked:
    """The images of the highest and of the lowest value, class by class.

    Args:
      classes: [N] int.
      values: [N].
      num_classes: C.
      per_class: columns of the result.

    Examples:
      >>> rank(np.array([0, 0, 1]), np.array([0.1, 0.3, 0.2]), 2, 2).highest.tolist()
      [[1, 0], [2, -1]]
    """
    highest, lowest = np.full((2, num_classes, per_class), MISSING)
    for c in range(num_classes):
        members = np.flatnonzero(classes == c)
        members = members[np.argsort(values[members], kind="stable")]
        ends = members[::-1][:per_class], members[:per_class]
        highest[c, : len(ends[0])], lowest[c, : len(ends[1])] = ends
    return Ranked(highest, lowest)


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Log of p / (1 - p), p = max_y p(y | x): ranks as p does, and never rounds to 1.

    Args:
      logits: [N, C].

    Returns:
      [N] float64.
    """
    ordered = np.sort(logits.astype(np.float64), axis=-1)
    return ordered[:, -1] - logsumexp(ordered[:, :-1], axis=-1)


def extremes(model: Model, outputs: Outputs) -> Iterator[Figure]:
    """Per predicted class, the buffer images of highest and lowest p(x) and p(y | x)."""
    logits, density = outputs.logits, scoring.log_density(outputs)
    classes, confidence = logits.argmax(axis=-1), scoring.max_prob(outputs)
    images = pictures.to_uint8(model.buffer)
    measures = {"px": ("p(x)", density), "pyx": ("p(y|x)", log_odds(logits))}
    for short, (symbol, values) in measures.items():
        ranked = rank(classes, values, model.num_classes, PER_CLASS)
        for end, rows in ranked._asdict().items():
            shown = np.where((rows == MISSING)[..., None, None, None], 255, images[rows])
            shown = shown.reshape(-1, *model.image_shape).astype(np.uint8)
            caption = (
                f"Buffer images of the {end} {symbol}, a row a predicted class "
                f"({names_of(model)}), the most extreme first; blank where a class has too few."
            )
            yield still(
                f"samples_{end}_{short}",
                shown,
                PER_CLASS,
                caption,
                {
                    "images": shown,
                    "rows": rows,
                    "log_density": np.where(rows == MISSING, np.nan, density[rows]),
                    "confidence": np.where(rows == MISSING, np.nan, confidence[rows]),
                },
            )


def names_of(model: Model) -> str:
    """The classes as rows are numbered: all of a few, the first and last of many."""
    names = model.class_names
    return ", ".join(names) if len(names) <= 10 else f"{names[0]} to {names[-1]}, in their order"


def new_images(model: Model, images: np.ndarray, num_steps: int) -> Found:
    """New chains' ends [N, H, W, channels], floats in [-1, 1], and their mean density."""
    classes = model.classes(len(images))
    yield "samples/fresh_log_density", float(model.log_density(images, classes).mean())
    shown, turns = pictures.to_uint8(images), ", classes in turns" * (classes is not None)
    caption = (
        f"New images: {len(shown)} chains of {num_steps:,} steps from training's starts{turns}."
    )
    yield still("samples_fresh", shown, 10, caption, {"images": shown})


def class_conditional(
    model: Model, key: jax.Array, num_steps: int | None, progress: Advance | None
) -> Found:
    """Chains on log p(x, y), a row a class, and the share that the classifier puts there."""
    labels = np.arange(model.num_classes * PER_CLASS) % model.num_classes  # groups of all classes
    images = model.sample(key, len(labels), labels, num_steps, progress=progress)
    predicted = model.predict(images)
    followed = None if model.classes(len(labels)) is None else labels
    yield "samples/conditional_log_density", float(model.log_density(images, followed).mean())
    yield "samples/conditional_accuracy", float((predicted == labels).mean())
    order = np.argsort(labels, kind="stable")
    shown = pictures.to_uint8(images[order])
    caption = (
        f"Class-conditional images, chains of {model.length(num_steps):,} steps on log p(x, y), a "
        f"row a class: {names_of(model)}."
    )
    yield still(
        "samples_conditional",
        shown,
        PER_CLASS,
        caption,
        {"images": shown, "labels": labels[order], "predicted": predicted[order]},
    )


def film(model: Model, key: jax.Array, num_steps: int | None, progress: Advance | None) -> Figure:
    """Chains as they go, a frame every K steps, as an animated image."""
    start_key, noise_key = jax.random.split(key)
    x = model.starts(row_keys(start_key, model.group_size), np.full(model.group_size, NO_LABEL))
    steps, frames, last = [0], [x[:FILMED]], model.length(num_steps)
    noise_keys = row_keys(noise_key, model.group_size)
    for done, moved in model.chain(noise_keys, x, num_steps=num_steps):
        if done % max(1, model.num_sgld_steps) == 0 or done == last:
            steps.append(done)
            frames.append(np.asarray(moved[:FILMED]))
            if progress:
                progress(done, last)
    images = pictures.to_uint8(np.stack(frames))
    classes = model.classes(images.shape[1])
    density = np.stack([model.log_density(frame, classes) for frame in images])
    arrays: dict[str, np.ndarray] = {"images": images, "steps": np.asarray(steps)}
    arrays["log_density"] = density
    every = f"a frame every {max(1, model.num_sgld_steps):,} steps"
    caption = f"{images.shape[1]} chains from their start to step {last:,}, {every}."
    return Figure(
        "samples_film", gif([grid(frame, 5) for frame in images]), ".gif", arrays, caption
    )


def originals(model: Model, fresh: np.ndarray, progress: Advance | None = None) -> Found:
    """Samples beside the training images nearest to them, and how near they are.

    Distances are L2, all of an image's values in [0, 1]. The scale is that of training images to
    the nearest *other* training image.

    Args:
      model: the model.
      fresh: [N, H, W, channels] uint8, new images.
      progress: is told how far the comparisons are.
    """
    real, drawn = model.training_images.images, pictures.to_uint8(model.buffer)
    _, scale = nearest(some(real, COMPARED), real, 2)
    _, distance = nearest(drawn, real, 1, progress)
    yield "samples/training_nearest_distance", float(np.median(scale[:, 1]))
    yield "samples/buffer_nearest_distance", float(np.median(distance))
    yield "samples/buffer_nearest_distance_min", float(distance.min())
    closest = drawn[np.argsort(distance[:, 0], kind="stable")[:PAIRS]]
    kinds = [closest, some(drawn, PAIRS), fresh[:PAIRS]]
    queries = np.concatenate(kinds)
    rows, distances = nearest(queries, real, min(NEIGHBOURS, len(real)))
    shown = np.concatenate([queries[:, None], real[rows]], axis=1)
    blocks = np.split(shown, np.cumsum([len(kind) for kind in kinds])[:-1])
    caption = (
        "In each row on the left a sample, then the training images nearest to it (L2): the "
        f"{len(closest)} of all {len(drawn):,} buffer images that come nearest to one, "
        f"{len(kinds[1])} others of the buffer, {len(kinds[2])} new ones."
    )
    arrays = {"images": queries, "rows": rows, "distances": distances}
    yield side_by_side("samples_nearest", blocks, caption, arrays)


def some(images: np.ndarray, count: int) -> np.ndarray:
    """`count` of the images, by chance but always the same; all where there are fewer.

    Not at even steps: training sets come sorted, and the buffer's classes take turns.
    """
    order = np.random.default_rng(SHUFFLE).permutation(len(images))
    return images[np.sort(order[:count])]


def grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Many images [N, H, W, channels] as one, small ones magnified to about 64 pixels."""
    return pictures.grid(images, columns, scale=max(1, 64 // images.shape[1]))


def side_by_side(
    name: str, blocks: Sequence[np.ndarray], caption: str, arrays: dict[str, np.ndarray]
) -> Figure:
    """A PNG figure of blocks of rows, each [rows, columns, H, W, channels] uint8."""
    drawn = [grid(np.concatenate(list(rows)), rows.shape[1]) for rows in blocks if len(rows)]
    height = max(map(len, drawn))
    blocks = [_framed(x, height) for x in drawn]
    whole = np.concatenate(blocks, axis=1)
    cuts = np.cumsum([x.shape[1] for x in blocks])[:-1] / whole.shape[1]
    said, data = PngInfo(), io.BytesIO()
    said.add_text(COLUMNS, " ".join(f"{at:.4f}" for at in cuts))
    Image.fromarray(whole).save(data, format="PNG", pnginfo=said)
    return Figure(name, data.getvalue(), ".png", arrays, caption)


def _framed(picture: np.ndarray, height: int) -> np.ndarray:
    """A picture [H, W, 3] with white around it, and below where another one is higher.

    Each block has the same frame: set one under the other they stand in line, and apart.
    """
    around = (APART, APART + height - len(picture)), (APART, APART), (0, 0)
    return np.pad(picture, around, constant_values=pictures.WHITE)


def still(
    name: str, images: np.ndarray, columns: int, caption: str, arrays: dict[str, np.ndarray]
) -> Figure:
    """A PNG figure of images [N, H, W, channels] uint8 in rows."""
    data = io.BytesIO()
    Image.fromarray(grid(images, columns)).save(data, format="PNG")
    return Figure(name, data.getvalue(), ".png", arrays, caption)


def gif(frames: list[np.ndarray]) -> bytes:
    """Frames [H, W, 3] uint8 as an animated image that repeats, and rests on its last frame."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    milliseconds = [int(1000 * FRAME_SECONDS)] * len(rest) + [int(1000 * LAST_FRAME_SECONDS)]
    data = io.BytesIO()
    first.save(data, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return data.getvalue()
