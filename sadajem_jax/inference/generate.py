"""Generation: new images and refined ones, drawn as training drew its negative samples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from sadajem_jax import informative_init
from sadajem_jax.data import loading
from sadajem_jax.data.specs import get_spec
from sadajem_jax.inference.chains import BATCH_NORMS, NO_LABEL, Chains
from sadajem_jax.randomness import row_keys
from sadajem_jax.train_step import Dataset
from sadajem_jax.training import experiment
from sadajem_jax.wide_resnet import WideResNet

Progress = Callable[[float], None]
"""Takes the share of the work that is done, above 0 and at most 1."""


def row_labels(label: Any, n: int, num_classes: int) -> np.ndarray:
    """The classes asked for, row by row.

    Args:
      label: None, one class, or [n] classes.
      n: rows.
      num_classes: C.

    Returns:
      [n] int32, NO_LABEL where `label` is None.

    Raises:
      TypeError: if a label is no whole number.
      ValueError: if it is no class, or there are not n of them.

    Examples:
      >>> row_labels(None, 2, 10).tolist(), row_labels(3, 2, 10).tolist()
      ([-1, -1], [3, 3])
    """
    if label is None:
        return np.full(n, NO_LABEL, np.int32)
    labels = np.asarray(label)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"expected classes as whole numbers, found {labels.dtype}")
    if labels.shape not in ((), (n,)):
        raise ValueError(f"expected one label or {n} of them, found shape {list(labels.shape)}")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        found = f"{labels.min()} to {labels.max()}" if labels.ndim else f"{labels}"
        raise ValueError(f"expected classes from 0 to {num_classes - 1}, found {found}")
    return np.broadcast_to(labels, (n,)).astype(np.int32)


class Draw(NamedTuple):
    """What was asked of chains; see `Generator.chain`."""

    num_steps: int | None
    batch_norm: str
    progress: Progress | None


class Generator:
    """Makes images as training made its negative samples; the half of `Model` that draws.

    Chains run in groups of config.train.batch_size_px rows. With batch_norm="train" a row depends
    on the others of its group, as in training; with "eval" it does not.

    Args:
      config: of the run.
      network: (x [B, H, W, channels], train) -> logits [B, C].
      variables: what `network.apply` takes.
      buffer: [N, H, W, channels] floats in [-1, 1].
      num_sgld_steps: K; by default the config's, which a training may double after a divergence.

    Attributes:
      config, network, variables, num_sgld_steps: as given.
      buffer: as NumPy float32.
      image_shape: (H, W, channels).
      class_names: of the C classes.
      num_classes: C.
      group_size: B, chains that run together.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        network: WideResNet,
        variables: Any,
        buffer: Any,
        num_sgld_steps: int | None = None,
    ) -> None:
        spec = get_spec(config.data.name)
        self.config, self.network, self.variables = config, network, variables
        self.buffer = np.asarray(buffer, np.float32)
        self.num_sgld_steps = num_sgld_steps or config.sgld.num_steps
        self.image_shape = (spec.image_size, spec.image_size, spec.channels)
        self.class_names, self.num_classes = spec.class_names, spec.num_classes
        self.group_size = config.train.batch_size_px

    def sample(
        self,
        key: jax.Array,
        n: int,
        label: Any = None,
        num_steps: int | None = None,
        batch_norm: str = "train",
        progress: Progress | None = None,
    ) -> np.ndarray:
        """New images: chains from the start that training used, the last group filled up with more.

        With a label a chain starts in the class's own Gaussian and follows log p(x, y). A group of
        one class alone is unlike the groups trained on: for many images, give labels in turns.

        Args:
          key: of the draw.
          n: images.
          label: None, a class, or [n] classes.
          num_steps: length of the chains; by default the life of a buffer row, K / reinit_prob.
          batch_norm: "train", as in training, or "eval".
          progress: is told the share done.

        Returns:
          [n, H, W, channels] float32 in [-1, 1].

        Raises:
          TypeError, ValueError: if an argument is not of these.
          UserError: if the training images, for the informative start, are not to be had.
        """
        if n < 0:
            raise ValueError(f"n must be at least 0, found {n}")
        start_key, noise_key = jax.random.split(key)
        labels = self._filled_up(row_labels(label, n, self.num_classes))
        keys, size = row_keys(start_key, len(labels)), self.group_size
        rows = [slice(i, i + size) for i in range(0, len(labels), size)]
        groups = (self.starts(keys[r], labels[r]) for r in rows)
        return self._run(noise_key, groups, labels, Draw(num_steps, batch_norm, progress))[:n]

    def refine(
        self,
        key: jax.Array,
        x: Any,
        num_steps: int | None = None,
        label: Any = None,
        batch_norm: str = "train",
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Images moved towards higher density: chains from x, buffer rows filling the last group.

        Args:
          key: of the draw.
          x: [N, H, W, channels], uint8 or floats in [-1, 1].
          num_steps: as of `sample`.
          label: as of `sample`.
          batch_norm: as of `sample`.
          progress: as of `sample`.

        Returns:
          [N, H, W, channels] float32 in [-1, 1].

        Raises:
          TypeError, ValueError: if an argument is not of these.
        """
        x = as_images(x, self.image_shape)
        fill_key, noise_key = jax.random.split(key)
        labels = self._filled_up(row_labels(label, len(x), self.num_classes))
        order = np.asarray(jax.random.permutation(fill_key, len(self.buffer)))
        rows = np.concatenate([as_float(x), self.buffer[order[: len(labels) - len(x)]]])
        groups = iter(rows.reshape(-1, self.group_size, *self.image_shape))
        draw = Draw(num_steps, batch_norm, progress)
        return self._run(noise_key, groups, labels, draw)[: len(x)]

    def starts(self, keys: jax.Array, labels: np.ndarray) -> np.ndarray:
        """Where chains start, as the config says: uniform, or a Gaussian per class.

        Args:
          keys: [M] one a row.
          labels: [M] int; NO_LABEL: of a class drawn uniformly.

        Returns:
          [M, H, W, channels] float32 in [-1, 1].

        Raises:
          UserError: if the training images are needed, and not to be had.
        """
        if self.config.sgld.init == "uniform":
            return np.asarray(informative_init.uniform(keys, self.image_shape))
        fresh, classes = self._informative
        rows = np.zeros((len(keys), *self.image_shape), np.float32)
        asked = np.flatnonzero(labels >= 0)
        if len(asked) < len(keys):
            rows[:] = fresh(keys, len(keys))
        if len(asked):
            found = informative_init.class_gaussian(keys[asked], labels[asked], classes, len(keys))
            rows[asked] = found[: len(asked)]
        return rows

    def chain(
        self,
        keys: jax.Array,
        x: Any,
        labels: Any = NO_LABEL,
        num_steps: int | None = None,
        batch_norm: str = "train",
    ) -> Iterator[tuple[int, jax.Array]]:
        """One group's chains as they go, for a film.

        Args:
          keys: [B] of the noise, one a row.
          x: [B, H, W, channels] float32, where they start.
          labels: [B] int, or one for all; NO_LABEL for log p(x).
          num_steps: as of `sample`.
          batch_norm: as of `sample`.

        Returns:
          An iterator of (steps done, x) after every K steps; those left over come one by one.

        Raises:
          ValueError: for another batch_norm, or a negative num_steps.
        """
        if batch_norm not in BATCH_NORMS:
            raise ValueError(f'batch_norm must be "train" or "eval", found {batch_norm!r}')
        kernel = experiment.kernel(self.config)
        chains = Chains(self.network, kernel, self.num_sgld_steps, batch_norm)
        labels = jnp.broadcast_to(jnp.asarray(labels, jnp.int32), (len(x),))
        return chains.run(self.variables, keys, jnp.asarray(x), labels, self.length(num_steps))

    def length(self, num_steps: int | None = None) -> int:
        """The steps of chains: `num_steps`, or else the mean life of a buffer row, K / reinit_prob.

        Raises:
          ValueError: if it is negative, or rows of this buffer never end.
        """
        if num_steps is None and self.config.buffer.reinit_prob == 0:
            raise ValueError("rows of this buffer never end (reinit_prob is 0): give num_steps")
        if num_steps is None:
            return round(self.num_sgld_steps / self.config.buffer.reinit_prob)
        if num_steps < 0:
            raise ValueError(f"num_steps must be at least 0, found {num_steps}")
        return num_steps

    @functools.cached_property
    def training_images(self) -> loading.Images:
        """The images and labels trained on, without those held out; read when first used.

        Raises:
          UserError: if they are not to be had.
        """
        settings = self.config.data
        loaded = loading.load(get_spec(settings.name), "train", settings.data_dir or None)
        return loading.hold_out(loaded, settings.val_size)[0]

    @functools.cached_property
    def _informative(self) -> tuple[Callable[..., jax.Array], informative_init.ClassImages]:
        """Fresh rows of any class, and what those of a given class are made of."""
        images, labels = self.training_images
        on_device = Dataset(jnp.asarray(images), jnp.asarray(labels))
        classes = informative_init.by_class(on_device.images, labels, self.num_classes)
        return experiment.chain_starts(self.config, on_device, labels).fresh, classes

    def _filled_up(self, labels: np.ndarray) -> np.ndarray:
        """Labels [N] of whole groups: the rows that fill the last one up follow log p(x)."""
        return np.pad(labels, (0, -len(labels) % self.group_size), constant_values=NO_LABEL)

    def _run(
        self, key: jax.Array, groups: Iterator[np.ndarray], labels: np.ndarray, draw: Draw
    ) -> np.ndarray:
        """Runs groups of chains one after the other: their ends, [len(labels), H, W, channels]."""
        steps, size = self.length(draw.num_steps), self.group_size
        keys = row_keys(key, len(labels))
        ends = [np.zeros((0, *self.image_shape), np.float32)]
        for start, x in zip(range(0, len(labels), size), groups, strict=True):
            rows, end = slice(start, start + size), jnp.asarray(x)
            for done, end in self.chain(keys[rows], x, labels[rows], steps, draw.batch_norm):
                if draw.progress:
                    jax.block_until_ready(end)
                    draw.progress((start + size * done / steps) / len(labels))
            ends.append(np.asarray(end))
        return np.concatenate(ends)


def as_images(x: Any, image_shape: tuple[int, ...]) -> np.ndarray:
    """Images as NumPy, if they are images of the model.

    Args:
      x: [N, *image_shape], uint8, or floating point in [-1, 1].
      image_shape: (H, W, channels).

    Returns:
      x, its type unchanged.

    Raises:
      TypeError: for another type.
      ValueError: for another shape, or for floats outside [-1, 1] or NaN.
    """
    x = np.asarray(x)
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    if x.dtype != np.uint8 and not is_float:
        raise TypeError(f"expected uint8 images, or floats in [-1, 1], found {x.dtype}")
    if x.ndim != 4 or x.shape[1:] != image_shape:
        expected = ", ".join(map(str, image_shape))
        hint = "; give a single image as x[None]" if x.shape == image_shape else ""
        raise ValueError(f"expected images [N, {expected}], found {list(x.shape)}{hint}")
    if is_float and x.size and not (x.min() >= -1 and x.max() <= 1):
        raise ValueError(
            f"expected floats in [-1, 1], found {x.min()} to {x.max()}; bytes may be given as "
            f"uint8, or scaled by x / 127.5 - 1"
        )
    return x


def as_float(x: np.ndarray) -> np.ndarray:
    """uint8 or floating point in [-1, 1] -> float32 in [-1, 1], of the same shape."""
    if x.dtype == np.uint8:
        return x.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return x.astype(np.float32)
