"""The model a user holds: it classifies, scores, tells what it has not seen, and generates.

    model = sadajem_jax.load("runs/cifar10")
    model.predict(images), model.log_density(images), model.sample(jax.random.key(0), 64)

Images go in as uint8, or as floats in [-1, 1], [N, H, W, channels] with any N; NumPy comes out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.console.progress import Advance
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import DatasetSpec
from sadajem_jax.inference import scoring
from sadajem_jax.inference.chains import NO_LABEL
from sadajem_jax.inference.generate import Generator, row_labels
from sadajem_jax.inference.images import as_float, users_images
from sadajem_jax.inference.scoring import Outputs
from sadajem_jax.wide_resnet import WideResNet

CPU_BATCH = 50  # a padded row costs what a row costs, and on the CPU that is felt
OOD_KINDS = tuple(scoring.KINDS)


class Model:
    """A trained network with the replay buffer that it was trained with.

    Where it reads images batch norm is in evaluation mode: a row's result does not depend on the
    rows beside it. The network then computes in full float32 (no TF32, no bfloat16). Batches are
    padded to one size, so each program is compiled once. Where it draws, its generator does.

    Args:
      network: (x [B, H, W, channels], train) -> logits [B, C].
      variables: what `network.apply` takes.
      generator: of the same network, with the buffer; see `Generator` for sample, refine, starts,
        chain and length.
      spec: of the data set.
      step: training steps behind it.
      checkpoint: which of a run's models it is: "last", "best", "ema", or an older one's step.
      batch_size: images the device takes at a time.
      seed: of the run; what is drawn for show is drawn with it.
      test_accuracy: of this very model, in [0, 1], where it is known.
      training_images: () -> what it was trained on; called when first needed.

    Attributes:
      network, variables, generator, spec, step, checkpoint, batch_size, seed, test_accuracy: as
        given.
    """

    def __init__(
        self,
        network: WideResNet,
        variables: Any,
        generator: Generator,
        *,
        spec: DatasetSpec,
        step: int = 0,
        checkpoint: str = "last",
        batch_size: int = CPU_BATCH,
        seed: int = 0,
        test_accuracy: float | None = None,
        training_images: Callable[[], Images] | None = None,
    ) -> None:
        self.network, self.variables, self.generator = network, variables, generator
        self.spec, self.step, self.checkpoint = spec, step, checkpoint
        self.batch_size, self.seed, self.test_accuracy = batch_size, seed, test_accuracy
        self._float32_network = network.clone(dtype=jnp.float32)
        self._read_training_images = training_images

    def __repr__(self) -> str:
        """Network, data, step and accuracy, in a line."""
        which = "" if self.checkpoint in ("last", str(self.step)) else f" ({self.checkpoint})"
        told = f"{_title(self.network)}, {self.spec.name}, step {self.step:,}{which}"
        if self.test_accuracy is not None:
            told += f", test accuracy {self.test_accuracy:.2%}"
        return f"<Model: {told}>"

    @property
    def buffer(self) -> np.ndarray:
        """[N, H, W, channels] float32 in [-1, 1], the replay buffer."""
        return self.generator.buffer

    @property
    def num_sgld_steps(self) -> int:
        """K of the training, in the end."""
        return self.generator.num_sgld_steps

    @property
    def group_size(self) -> int:
        """Chains that run together."""
        return self.generator.group_size

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, channels)."""
        return self.generator.image_shape

    @property
    def num_classes(self) -> int:
        """C."""
        return self.spec.num_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the C classes."""
        return self.spec.class_names

    @functools.cached_property
    def training_images(self) -> Images:
        """The images and labels trained on, without those held out; read when first used.

        Raises:
          UserError: if they are not to be had.
          ValueError: if the model was made without them.
        """
        if self._read_training_images is None:
            raise ValueError("this model was made without training_images: give them to Model")
        return self._read_training_images()

    def logits(self, x: Any, progress: Advance | None = None) -> np.ndarray:
        """The classifier's f(x): [N, H, W, channels] -> [N, C] float32.

        Raises:
          TypeError: if x is neither uint8 nor floating point.
          ValueError: if it has another shape, or values outside [-1, 1] (any are taken by a model
            whose chains are not clipped to it). So do the methods below.
        """
        return self._in_batches(_logits, x, progress)["logits"]

    def predict(self, x: Any) -> np.ndarray:
        """The class argmax_y p(y | x): [N, H, W, channels] -> [N] int32."""
        return np.argmax(self.logits(x), axis=-1).astype(np.int32)

    def predict_proba(self, x: Any) -> np.ndarray:
        """The classes' p(y | x), softmax of the logits: [N, H, W, channels] -> [N, C] float64."""
        return scoring.probabilities(Outputs(self.logits(x)))

    def log_density(self, x: Any, label: Any = None) -> np.ndarray:
        """Log p(x) + log Z = logsumexp_y f(x)[y], nats: [N, H, W, channels] -> [N] float64.

        With a label, a class or [N] classes, log p(x, y) + log Z = f(x)[y] of it.
        """
        classes = None if label is None else row_labels(label, len(x), self.num_classes)
        return scoring.log_density(Outputs(self.logits(x)), classes)

    def score(self, x: Any) -> np.ndarray:
        """Each image's own d log p(x) / dx, x in [-1, 1]: float32 of the shape of x."""
        return self._in_batches(_score, x)["score"]

    def ood_score(self, x: Any, kind: str = "log_density") -> np.ndarray:
        """How much images look like those trained on: the higher, the more.

        Args:
          x: [N, H, W, channels].
          kind: "log_density"; "max_prob", max_y p(y | x); or "approx_mass",
            -||d log p(x) / dx||_2 (Grathwohl et al. 2020).

        Returns:
          [N] float64.

        Raises:
          ValueError: if there is no such kind.
        """
        if kind not in scoring.KINDS:
            raise ValueError(f"kind must be one of {', '.join(OOD_KINDS)}, found {kind!r}")
        if kind in scoring.GRADIENT_KINDS:
            found = self._in_batches(_score, x)
            return scoring.KINDS[kind](Outputs(found["logits"], found["score_norm"]))
        return scoring.KINDS[kind](Outputs(self.logits(x)))

    def sample(
        self,
        key: jax.Array,
        n: int,
        label: Any = None,
        num_steps: int | None = None,
        batch_norm: str | None = None,
        progress: Advance | None = None,
    ) -> np.ndarray:
        """New images, [n, H, W, channels] float32; see `Generator.sample`."""
        return self.generator.sample(key, n, label, num_steps, batch_norm, progress)

    def refine(
        self,
        key: jax.Array,
        x: Any,
        num_steps: int | None = None,
        label: Any = None,
        batch_norm: str | None = None,
        progress: Advance | None = None,
    ) -> np.ndarray:
        """Images moved towards higher density, as x but float32; see `Generator.refine`."""
        return self.generator.refine(key, x, num_steps, label, batch_norm, progress)

    def classes(self, n: int) -> np.ndarray | None:
        """[n] classes of chains that ask for none, None if there are none: `Generator.classes`."""
        return self.generator.classes(n)

    def starts(self, keys: jax.Array, labels: np.ndarray) -> np.ndarray:
        """Where chains start, [M, H, W, channels]; see `Generator.starts`."""
        return self.generator.starts(keys, labels)

    def chain(
        self,
        keys: jax.Array,
        x: Any,
        labels: Any = NO_LABEL,
        num_steps: int | None = None,
        batch_norm: str | None = None,
    ) -> Iterator[tuple[int, jax.Array]]:
        """One group's chains as they go, (steps done, x); see `Generator.chain`."""
        return self.generator.chain(keys, x, labels, num_steps, batch_norm)

    def length(self, num_steps: int | None = None) -> int:
        """The steps of chains: `num_steps`, or else K / reinit_prob; see `Generator.length`."""
        return self.generator.length(num_steps)

    def _in_batches(
        self, program: Callable[..., Any], x: Any, progress: Advance | None = None
    ) -> dict[str, np.ndarray]:
        """Runs a program of one fixed shape over any number of rows, none included."""
        x = users_images(x, self.image_shape, self.generator.kernel.bounds)
        found = []
        for start in range(0, max(len(x), 1), self.batch_size):
            rows = as_float(x[start : start + self.batch_size])
            padded = np.zeros((self.batch_size, *self.image_shape), np.float32)
            padded[: len(rows)] = rows
            with jax.default_matmul_precision("highest"):
                values = jax.device_get(program(self._float32_network, self.variables, padded))
            found.append(jax.tree.map(lambda value, rows=rows: value[: len(rows)], values))
            if progress:
                progress(start + len(rows), len(x))
        return jax.tree.map(lambda *values: np.concatenate(values), *found)


def _title(network: Any) -> str:
    if isinstance(network, WideResNet):
        return f"WRN-{network.depth}-{network.width}"
    return type(network).__name__


_logits = jax.jit(scoring.logits, static_argnums=0)
_score = jax.jit(scoring.score, static_argnums=0)
