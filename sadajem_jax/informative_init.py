"""Where chains start: a Gaussian per class with the class's mean and covariance (from JEM++).

No covariance matrix is ever formed. With w ~ N(0, I_n) and z ~ N(0, I),

    mean + (1 / sqrt(n)) sum_i w_i (x_i - mean) + 0.01 z

has exactly the mean and the covariance (+ 1e-4 I) of the n images x_i of the class: CIFAR-100's
covariances would take 3.8 GB, this takes one class of images at a time. A row depends on its own
key and class alone, so rows may be made in blocks, outside the hot step, and only where due.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.augment import to_float

JITTER_STD = 0.01  # its square is the 1e-4 that the released code adds to the covariances' diagonal
# Rows of one class made together: the images are read once for all of them.
CHUNK = 16  # of the few that fall due in a feed
FILL_CHUNK = 1000  # of a whole buffer, at most


class Starts(NamedTuple):
    """An initialisation of chains; each row is a function of its own key, and of its class.

    Attributes:
      drawn: keys [M] -> (keys [M] for `of_classes`, classes [M] int): what fresh rows are made of,
        classes drawn uniformly, each by its key. Small, and may be drawn on another device.
      fill: keys [N] -> [N, H, W, channels], a whole buffer: the classes take turns, so that each
        has the same number of rows.
      of_classes: keys [M], classes [M] -> [M, H, W, channels]; a row without a class (negative)
        need not be made and may stay zero.
    """

    drawn: Callable[[jax.Array], tuple[jax.Array, jax.Array]]
    fill: Callable[[jax.Array], jax.Array]
    of_classes: Callable[[jax.Array, np.ndarray], jax.Array]

    def fresh(self, keys: jax.Array) -> jax.Array:
        """Rows of classes drawn uniformly: keys [M] -> [M, H, W, channels]."""
        make, classes = self.drawn(keys)
        return self.of_classes(make, np.asarray(classes))


def informative(images: jax.Array, labels: np.ndarray, num_classes: int) -> Starts:
    """The paper's initialisation, a Gaussian per class.

    Args:
      images: [N, H, W, channels] uint8, the training images on the device.
      labels: [N] int, on the host.
      num_classes: C.

    Raises:
      ValueError: if a class has no image.
    """
    data = by_class(images, labels, num_classes)

    def fill(keys: jax.Array) -> jax.Array:
        of_a_class = -(-len(keys) // num_classes)
        chunk = min(FILL_CHUNK, of_a_class)
        return class_gaussian(keys, np.arange(len(keys)) % num_classes, data, chunk)

    drawn = partial(_drawn_classes, num_classes=num_classes)
    return Starts(drawn, fill, lambda keys, classes: class_gaussian(keys, classes, data))


@partial(jax.jit, static_argnames="num_classes")
def _drawn_classes(keys: jax.Array, *, num_classes: int) -> tuple[jax.Array, jax.Array]:
    """(keys [M] to make the rows with, classes [M])."""
    pick, make = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    return make, jax.vmap(lambda key: jax.random.randint(key, (), 0, num_classes))(pick)


def uniform_starts(shape: tuple[int, ...]) -> Starts:
    """JEM's initialisation, the same whatever the class: `uniform` of images (H, W, channels)."""

    def draw(keys: jax.Array, *_: object) -> jax.Array:
        return uniform(keys, shape)

    return Starts(lambda keys: (keys, jnp.zeros(len(keys), jnp.int32)), draw, draw)


def uniform(keys: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """JEM's start, U(-1, 1): [M] keys -> [M, *shape] float32."""
    return jax.vmap(lambda key: jax.random.uniform(key, shape, minval=-1, maxval=1))(keys)


class ClassImages(NamedTuple):
    """Training images, and where each class's are.

    Attributes:
      images: [N, H, W, channels] uint8.
      rows: [C, n_max] int32 indices into `images`, class by class, padded with zeros.
      counts: [C] int32, images a class.
    """

    images: jax.Array
    rows: jax.Array
    counts: jax.Array


def by_class(images: jax.Array, labels: np.ndarray, num_classes: int) -> ClassImages:
    """Groups images [N, ...] by their labels [N].

    Raises:
      ValueError: if a class has no image.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() == 0:
        raise ValueError(
            f"every class needs an image to start chains from, {counts.argmin()} has 0"
        )
    rows = np.zeros((num_classes, counts.max()), np.int32)
    for c in range(num_classes):
        rows[c, : counts[c]] = np.flatnonzero(labels == c)
    return ClassImages(images, jnp.asarray(rows), jnp.asarray(counts, jnp.int32))


def class_gaussian(
    keys: jax.Array, classes: np.ndarray, data: ClassImages, chunk: int = CHUNK
) -> jax.Array:
    """Rows of the informative initialisation.

    Args:
      keys: [M] one key a row.
      classes: [M] int, on the host: the class of each row; the row of a negative one stays zero.
      data: the training images.
      chunk: rows of a class made together.

    Returns:
      [M, H, W, channels] float32 in [-1, 1], not waited for.
    """
    out = jnp.zeros((len(keys), *data.images.shape[1:]), jnp.float32)
    for c in np.unique(classes[classes >= 0]):
        members = np.flatnonzero(classes == c).astype(np.int32)
        for start in range(0, len(members), chunk):
            part = members[start : start + chunk]
            places = np.full(chunk, len(keys), np.int32)
            places[: len(part)] = part
            out = _fill(out, keys, np.resize(part, chunk), places, data, np.int32(c))
    return out


@partial(jax.jit, donate_argnums=0)
def _fill(
    out: jax.Array, keys: jax.Array, part: Any, places: Any, data: ClassImages, c: Any
) -> jax.Array:
    """Writes rows of class c, by the keys of `part` [R], to `places` [R]; past the end: dropped."""
    rows = gaussian_rows(keys[part], data.images[data.rows[c]], data.counts[c])
    return out.at[places].set(rows, mode="drop")


def gaussian_rows(keys: jax.Array, images: jax.Array, count: jax.Array) -> jax.Array:
    """Draws from one class's Gaussian, clipped to [-1, 1].

    Args:
      keys: [R] one key a row.
      images: [n_max, H, W, channels] uint8, of which the first `count` belong to the class.
      count: n, scalar int.

    Returns:
      [R, H, W, channels] float32.
    """
    belongs = (jnp.arange(images.shape[0]) < count).astype(jnp.float32)
    flat = to_float(images).reshape(images.shape[0], -1)
    count = count.astype(jnp.float32)
    weight_keys, jitter_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    w = jax.vmap(lambda key: jax.random.normal(key, belongs.shape))(weight_keys) * belongs
    z = jax.vmap(lambda key: jax.random.normal(key, flat.shape[1:]))(jitter_keys)
    # mean and spread in one product: sum_i (1/n + (w_i - mean(w)) / sqrt(n)) x_i
    centred = (w - jnp.sum(w, axis=1, keepdims=True) / count) * belongs
    mixture = belongs / count + centred / jnp.sqrt(count)
    rows = jnp.matmul(mixture, flat, precision="highest") + JITTER_STD * z
    return jnp.clip(rows, -1, 1).reshape(-1, *images.shape[1:])
