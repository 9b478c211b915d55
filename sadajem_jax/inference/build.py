"""What a run's settings describe: its network, its kernel, its chains; see `workdir.settings`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import informative_init, sgld
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import DatasetSpec, get_spec
from sadajem_jax.inference.generate import Generator
from sadajem_jax.inference.model import Model
from sadajem_jax.informative_init import Starts
from sadajem_jax.wide_resnet import WideResNet
from sadajem_jax.workdir.settings import Settings


def network(settings: Settings, spec: DatasetSpec) -> WideResNet:
    """The network, parameters in float32."""
    depth, width, norm = (settings[f"model.{name}"] for name in ("depth", "width", "norm"))
    return WideResNet(depth, width, spec.num_classes, norm, jnp.dtype(settings["model.dtype"]))


def kernel(settings: Settings) -> sgld.Langevin:
    """The constants of the Langevin kernel, for training and for generation."""
    names = ("step_size", "noise_std", "grad_clip", "noise_first")
    bounds = (-1.0, 1.0) if settings["sgld.clip_images"] else (-math.inf, math.inf)
    return sgld.Langevin(**{name: settings[f"sgld.{name}"] for name in names}, bounds=bounds)


def group_size(settings: Settings) -> int:
    """Chains that share a batch norm in training: a batch, or the part of it normalised at once."""
    parts = settings["train.micro_batches"] * settings["model.norm_groups"]
    return settings["train.batch_size_px"] // parts


def starts(settings: Settings, spec: DatasetSpec, images: jax.Array, labels: np.ndarray) -> Starts:
    """The informative or the uniform initialisation; the latter looks at their shape alone.

    Args:
      settings: of the run.
      spec: of its data set.
      images: [N, H, W, channels] uint8, the training images on the device.
      labels: [N] int, on the host.
    """
    if settings["sgld.init"] == "uniform":
        return informative_init.uniform_starts(images.shape[1:])
    return informative_init.informative(images, labels, spec.num_classes)


def _generation_starts(
    settings: Settings, spec: DatasetSpec, images: Callable[[], Images]
) -> Starts:
    """The starts of new images; the training images are read only where they are needed."""
    if settings["sgld.init"] == "uniform":
        return informative_init.uniform_starts(spec.image_shape)
    loaded = images()
    return starts(settings, spec, jnp.asarray(loaded.images), loaded.labels)


def training_images(settings: Settings, spec: DatasetSpec, data_dir: str | None = None) -> Images:
    """The images and labels trained on, without those held out.

    Raises:
      UserError: if they are not to be had.
    """
    loaded = loading.load(spec, "train", data_dir or settings["data.data_dir"] or None)
    return loading.hold_out(loaded, settings["data.val_size"])[0]


def model(
    settings: Settings,
    variables: Any,
    buffer: Any,
    *,
    num_sgld_steps: int | None = None,
    data_dir: str | None = None,
    **of_model: Any,
) -> Model:
    """A run's model.

    Args:
      settings: of the run.
      variables: {"params": ..., "batch_stats": ...}.
      buffer: [N, H, W, channels] floats in [-1, 1].
      num_sgld_steps: K; by default the settings'.
      data_dir: where the training images are, if no longer where the settings say.
      **of_model: `step` and the like, as of `Model`.
    """
    spec = get_spec(settings["data.name"])
    images = functools.cache(lambda: training_images(settings, spec, data_dir))
    made = network(settings, spec)
    generator = Generator(
        made,
        variables,
        buffer,
        kernel=kernel(settings),
        num_sgld_steps=num_sgld_steps or settings["sgld.num_steps"],
        reinit_prob=settings["buffer.reinit_prob"],
        group_size=group_size(settings),
        num_classes=spec.num_classes,
        starts=lambda: _generation_starts(settings, spec, images),
        batch_norm=settings["sgld.batch_norm"],
        class_conditional=settings["objective.class_conditional"],
    )
    seed = settings["seed"]
    return Model(
        made, variables, generator, spec=spec, training_images=images, seed=seed, **of_model
    )
