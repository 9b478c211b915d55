"""Generation: new images and refined ones, drawn as training drew its negative samples."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import sgld
from sadajem_jax.console.progress import Advance
from sadajem_jax.inference.chains import BATCH_NORMS, NO_LABEL, Chains
from sadajem_jax.inference.images import as_float, users_images
from sadajem_jax.informative_init import Starts
from sadajem_jax.randomness import row_keys
from sadajem_jax.wide_resnet import WideResNet


def two_keys(key: Any) -> jax.Array:
    """[2] keys of a key; TypeError for a number, which is a seed."""
    if not hasattr(key, "dtype"):
        raise TypeError(f"key must be one of jax.random, as jax.random.key(0), found {key!r}")
    return jax.random.split(key)


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
    batch_norm: str | None
    progress: Advance | None


class Generator:
    """Makes images as training made its negative samples; the half of `Model` that draws.

    Chains run in groups of `group_size` rows. With batch_norm="train" a row depends on the others
    of its group; with "eval" it does not.

    Args:
      network: (x [B, H, W, channels], train) -> logits [B, C].
      variables: what `network.apply` takes.
      buffer: [N, H, W, channels] floats in [-1, 1].
      kernel: training's.
      num_sgld_steps: K.
      reinit_prob: with which a row of the buffer starts anew in a step.
      group_size: B, chains that run together: as many as training's batch norm saw at once.
      num_classes: C.
      starts: () -> where chains start; called once, when first needed.
      batch_norm: of training's chains, "train" or "eval".
      class_conditional: whether training's chains followed log p(x | y), each of its class's.

    Attributes:
      network, variables, kernel, num_sgld_steps, reinit_prob, group_size, num_classes, batch_norm,
        class_conditional: as given.
      buffer: as NumPy float32.
      image_shape: (H, W, channels).
    """

    def __init__(
        self,
        network: WideResNet,
        variables: Any,
        buffer: Any,
        *,
        kernel: sgld.Langevin,
        num_sgld_steps: int,
        reinit_prob: float,
        group_size: int,
        num_classes: int,
        starts: Callable[[], Starts],
        batch_norm: str = "train",
        class_conditional: bool = False,
    ) -> None:
        self.network, self.variables = network, variables
        self.buffer = np.asarray(buffer, np.float32)
        self.image_shape = self.buffer.shape[1:]
        self.kernel, self.num_sgld_steps, self.reinit_prob = kernel, num_sgld_steps, reinit_prob
        self.group_size, self.num_classes = group_size, num_classes
        self.batch_norm, self.class_conditional = batch_norm, class_conditional
        self._make_starts = starts

    @property
    def described(self) -> dict[str, str]:
        """What its chains follow, for the records of what they drew."""
        told = {"batch norm": "as in training"}
        if self.batch_norm == "eval":
            told["batch norm"] = "in evaluation mode, as in training"
        if self.class_conditional:
            told["follows"] = "log p(x | y), classes in turns"
        return told

    def classes(self, n: int) -> np.ndarray | None:
        """[n] classes that chains have without being asked for any, in turns as the buffer's slots.

        None: training's chains followed log p(x), and had none.
        """
        return np.arange(n) % self.num_classes if self.class_conditional else None

    def sample(
        self,
        key: jax.Array,
        n: int,
        label: Any = None,
        num_steps: int | None = None,
        batch_norm: str | None = None,
        progress: Advance | None = None,
    ) -> np.ndarray:
        """New images: chains from the start that training used, the last group filled up with more.

        With a label a chain starts in the class's own Gaussian and follows log p(x, y), which has
        the gradient of log p(x | y). A group of one class alone is unlike the groups trained on:
        for many images, give labels in turns. Without one it follows what training's chains did:
        log p(x), or log p(x | y) with the classes in turns, see `classes`.

        Args:
          key: of the draw.
          n: images.
          label: None, a class, or [n] classes.
          num_steps: length of the chains; by default the life of a buffer row, K / reinit_prob.
          batch_norm: "train" or "eval"; by default that of training's chains.
          progress: is told how many steps of all chains are done.

        Returns:
          [n, H, W, channels] float32, in [-1, 1] where the kernel's bounds are.

        Raises:
          TypeError, ValueError: if an argument is not of these.
          UserError: if the training images, for the informative start, are not to be had.
        """
        if n < 0:
            raise ValueError(f"n must be at least 0, found {n}")
        start_key, noise_key = two_keys(key)
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
        batch_norm: str | None = None,
        progress: Advance | None = None,
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
          [N, H, W, channels] float32, in [-1, 1] where the kernel's bounds are.

        Raises:
          TypeError, ValueError: if an argument is not of these.
        """
        x = users_images(x, self.image_shape, self.kernel.bounds)
        fill_key, noise_key = two_keys(key)
        labels = self._filled_up(row_labels(label, len(x), self.num_classes))
        order = np.asarray(jax.random.permutation(fill_key, len(self.buffer)))
        rows = np.concatenate([as_float(x), self.buffer[order[: len(labels) - len(x)]]])
        groups = iter(rows.reshape(-1, self.group_size, *self.image_shape))
        draw = Draw(num_steps, batch_norm, progress)
        return self._run(noise_key, groups, labels, draw)[: len(x)]

    def starts(self, keys: jax.Array, labels: np.ndarray) -> np.ndarray:
        """Where chains start, as in training: uniform, or a Gaussian per class.

        Args:
          keys: [M] one a row.
          labels: [M] int; NO_LABEL: of a class drawn uniformly.

        Returns:
          [M, H, W, channels] float32 in [-1, 1].

        Raises:
          UserError: if the training images are needed, and not to be had.
        """
        rows = np.array(self._starts.of_classes(keys, labels))
        free = labels < 0
        if free.any():
            rows[free] = np.asarray(self._starts.fresh(keys))[free]
        return rows

    def chain(
        self,
        keys: jax.Array,
        x: Any,
        labels: Any = NO_LABEL,
        num_steps: int | None = None,
        batch_norm: str | None = None,
    ) -> Iterator[tuple[int, jax.Array]]:
        """One group's chains as they go, for a film.

        Args:
          keys: [B] of the noise, one a row.
          x: [B, H, W, channels] float32, where they start.
          labels: [B] int, or one for all; NO_LABEL: what training's chains followed.
          num_steps: as of `sample`.
          batch_norm: as of `sample`.

        Returns:
          An iterator of (steps done, x) after every K steps; those left over come one by one.

        Raises:
          ValueError: for another batch_norm, or a negative num_steps.
        """
        batch_norm = self.batch_norm if batch_norm is None else batch_norm
        if batch_norm not in BATCH_NORMS:
            raise ValueError(f'batch_norm must be "train" or "eval", found {batch_norm!r}')
        chains = Chains(self.network, self.kernel, self.num_sgld_steps, batch_norm)
        rows = jnp.asarray(self._followed(np.broadcast_to(np.asarray(labels, np.int32), (len(x),))))
        return chains.run(self.variables, keys, jnp.asarray(x), rows, self.length(num_steps))

    def length(self, num_steps: int | None = None) -> int:
        """The steps of chains: `num_steps`, or else the mean life of a buffer row, K / reinit_prob.

        Raises:
          ValueError: if it is negative, or rows of this buffer never end.
        """
        if num_steps is None and self.reinit_prob == 0:
            raise ValueError("rows of this buffer never end (reinit_prob is 0): give num_steps")
        if num_steps is None:
            return round(self.num_sgld_steps / self.reinit_prob)
        if num_steps < 0:
            raise ValueError(f"num_steps must be at least 0, found {num_steps}")
        return num_steps

    @functools.cached_property
    def _starts(self) -> Starts:
        return self._make_starts()

    def _filled_up(self, labels: np.ndarray) -> np.ndarray:
        """Labels of whole groups: the rows that fill the last one up ask for no class."""
        more = -len(labels) % self.group_size
        return self._followed(np.pad(labels, (0, more), constant_values=NO_LABEL))

    def _followed(self, labels: np.ndarray) -> np.ndarray:
        """Labels [N] with the class of each chain that asks for none; NO_LABEL: log p(x)."""
        classes = self.classes(len(labels))
        return labels if classes is None else np.where(labels < 0, classes, labels)

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
                    draw.progress(start * steps + size * done, len(labels) * steps)
            ends.append(np.asarray(end))
        return np.concatenate(ends)
