"""The model a user holds: it classifies, scores, tells what it has not seen, and generates.

    model = sadajem_jax.load("runs/cifar10")
    model.predict(images), model.log_density(images), model.sample(jax.random.key(0), 64)

Images go in as uint8, or as floats in [-1, 1], [N, H, W, channels] with any N; NumPy comes out.
"""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from sadajem_jax import backend, energy, sgld
from sadajem_jax.cli import config as config_files
from sadajem_jax.console.errors import UserError
from sadajem_jax.inference.generate import Generator, as_float, as_images
from sadajem_jax.train_state import TrainState
from sadajem_jax.training import divergence, experiment, init_from, validation
from sadajem_jax.wide_resnet import WideResNet
from sadajem_jax.workdir.checkpoint import Checkpoints

CPU_BATCH = 50  # a padded row costs what a row costs, and on the CPU that is felt
OOD_KINDS = ("log_density", "max_prob", "approx_mass")


def load(
    workdir: str | os.PathLike[str],
    checkpoint: str | int = "last",
    *,
    batch_size: int | None = None,
) -> Model:
    """The model of a run; writes nothing, so it may be called beside the training.

    Args:
      workdir: W of the run, with W/config.json and W/checkpoints.
      checkpoint: "last"; "best" on the held-out images; "ema", the averages kept beside the last;
        or the step of a checkpoint.
      batch_size: images the device takes at a time; by default config.eval.batch_size, on the CPU
        at most 50.

    Returns:
      The model.

    Raises:
      UserError: if W holds no run, or not that checkpoint.
    """
    workdir = pathlib.Path(workdir)
    config = _config(workdir)
    step, state = _restore(workdir, config, checkpoint)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return Model(
        config,
        experiment.network(config),
        state.ema if checkpoint == "ema" else variables,
        state.buffer,
        num_sgld_steps=divergence.read(workdir, config.sgld.num_steps).num_sgld_steps,
        step=step,
        batch_size=batch_size,
    )


def _config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    path = workdir / "config.json"
    if not path.is_file():
        raise UserError(f"expected the folder of a run, found no config.json in {workdir}")
    try:
        return config_files.from_json(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is no config of a run, restore it: {error}") from error


def _restore(
    workdir: pathlib.Path, config: ml_collections.ConfigDict, checkpoint: str | int
) -> tuple[int, TrainState]:
    """The (step, state) that `checkpoint` names."""
    folder = workdir / "checkpoints"
    checkpoints = Checkpoints(folder, read_only=True) if folder.is_dir() else None
    steps = checkpoints.steps() if checkpoints else []
    if checkpoints is None or not steps:
        raise UserError(f"{workdir} holds no checkpoint yet: wait for its first, or train it")
    like = init_from.blueprint(config)
    found: tuple[int, TrainState] | None
    if checkpoint in ("last", "ema"):
        found = checkpoints.restore_last(like)
    elif checkpoint == "best":
        found = validation.best_state(workdir, like)
    else:
        found = _restore_step(checkpoints, _step_named(checkpoint, steps), like)
    checkpoints.close()
    if found is None or (checkpoint == "ema" and not found[1].ema):
        needs = "eval.every_epochs and data.val_size" if checkpoint == "best" else "train.ema_decay"
        raise UserError(f"{workdir} keeps no {checkpoint!r} model: it needs config.{needs} above 0")
    return found


def _restore_step(checkpoints: Checkpoints, step: int, like: TrainState) -> tuple[int, TrainState]:
    try:
        return step, checkpoints.restore(step, like)
    except Exception as error:  # corrupt files raise anything
        reason = str(error).splitlines()[0][:200] if str(error) else repr(error)
        raise UserError(f"checkpoint {step} cannot be read, take another: {reason}") from error


def _step_named(checkpoint: str | int, steps: list[int]) -> int:
    text = str(checkpoint)
    if not text.isdecimal() or int(text) not in steps:
        there = ", ".join(map(str, steps))
        raise UserError(f"checkpoint must be last, best, ema or a step of {there}, found {text!r}")
    return int(text)


class Model(Generator):
    """A trained network with the replay buffer that it was trained with; see also `Generator`.

    In the methods defined here batch norm is in evaluation mode: a row's result does not depend on
    the rows beside it. They compute in full float32 (no TF32, no bfloat16), chains as in training.
    Batches are padded to one size, so each program is compiled once.

    Args:
      config: of the run.
      network: (x [B, H, W, channels], train) -> logits [B, C].
      variables: what `network.apply` takes.
      buffer: [N, H, W, channels] floats in [-1, 1].
      num_sgld_steps: K; by default the config's.
      step: training steps behind it.
      batch_size: images the device takes at a time; see `load`.

    Attributes:
      step, batch_size: as given; the others are those of `Generator`.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        network: WideResNet,
        variables: Any,
        buffer: Any,
        *,
        num_sgld_steps: int | None = None,
        step: int = 0,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(config, network, variables, buffer, num_sgld_steps)
        most = CPU_BATCH if backend.on_cpu() else config.eval.batch_size
        self._float32_network = network.clone(dtype=jnp.float32)
        self.step, self.batch_size = step, batch_size or min(most, config.eval.batch_size)

    def logits(self, x: Any) -> np.ndarray:
        """The classifier's f(x): [N, H, W, channels] -> [N, C] float32.

        Raises:
          TypeError: if x is neither uint8 nor floating point.
          ValueError: if it has another shape, or values outside [-1, 1]. So do the methods below.
        """
        return self._in_batches(_outputs, x)[0]

    def predict(self, x: Any) -> np.ndarray:
        """The class argmax_y p(y | x): [N, H, W, channels] -> [N] int32."""
        return np.argmax(self.logits(x), axis=-1).astype(np.int32)

    def log_density(self, x: Any) -> np.ndarray:
        """Log p(x) + log Z = logsumexp_y f(x)[y], nats: [N, H, W, channels] -> [N] float32."""
        return self._in_batches(_outputs, x)[1]

    def score(self, x: Any) -> np.ndarray:
        """Each image's own d log p(x) / dx, x in [-1, 1]: float32 of the shape of x."""
        return self._in_batches(_score, x)

    def ood_score(self, x: Any, kind: str = "log_density") -> np.ndarray:
        """How much images look like those trained on: the higher, the more.

        Args:
          x: [N, H, W, channels].
          kind: "log_density"; "max_prob", max_y p(y | x), in float64 so that confident images
            seldom tie; or "approx_mass", -||d log p(x) / dx||_2 (Grathwohl et al. 2020).

        Returns:
          [N].

        Raises:
          ValueError: if there is no such kind.
        """
        if kind == "log_density":
            return self.log_density(x)
        if kind == "max_prob":
            logits = self.logits(x).astype(np.float64)
            return 1 / np.sum(np.exp(logits - logits.max(axis=-1, keepdims=True)), axis=-1)
        if kind == "approx_mass":
            score = self.score(x)
            return -np.linalg.norm(score.reshape(len(score), -1), axis=-1)
        raise ValueError(f"kind must be one of {', '.join(OOD_KINDS)}, found {kind!r}")

    def _in_batches(self, program: Callable[..., Any], x: Any) -> Any:
        """Runs a program of one fixed shape over any number of rows, none included."""
        x = as_images(x, self.image_shape)
        found = []
        for start in range(0, max(len(x), 1), self.batch_size):
            rows = as_float(x[start : start + self.batch_size])
            padded = np.zeros((self.batch_size, *self.image_shape), np.float32)
            padded[: len(rows)] = rows
            with jax.default_matmul_precision("highest"):
                values = jax.device_get(program(self._float32_network, self.variables, padded))
            found.append(jax.tree.map(lambda value, rows=rows: value[: len(rows)], values))
        return jax.tree.map(lambda *values: np.concatenate(values), *found)


@functools.partial(jax.jit, static_argnums=0)
def _outputs(network: WideResNet, variables: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(logits, log-density) of a padded batch."""
    logits: Any = network.apply(variables, x)
    return logits, energy.log_density(logits)


@functools.partial(jax.jit, static_argnums=0)
def _score(network: WideResNet, variables: Any, x: jax.Array) -> jax.Array:
    """In evaluation mode the gradient of the batch's sum is each image's own."""
    return sgld.score(lambda x: (_outputs(network, variables, x)[1], None), x)[0]
