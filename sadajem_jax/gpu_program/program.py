"""The trainer's own block of steps in the GPU's form, with the shapes of its arguments.

Nothing of a run's size is made: the step comes from a handful of black images, and the arguments
are shapes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import DatasetSpec
from sadajem_jax.train_state import TrainState
from sadajem_jax.train_step import Dataset, Feed, Step
from sadajem_jax.training import experiment
from sadajem_jax.training.experiment import Experiment
from sadajem_jax.training.recipes import Recipe

Shape: Any = jax.ShapeDtypeStruct  # stands where an array does


class Arguments(NamedTuple):
    """What a block takes, each leaf a shape; see `train_step.looped`."""

    state: TrainState
    feed: Feed
    data: Dataset
    key: jax.Array
    num_steps: jax.Array


def of(recipe: Recipe) -> tuple[Step, Arguments]:
    """(the pure step, its chain a loop; the shapes of a block of such steps).

    Args:
      recipe: of the run.
    """
    # From uniform starts the shapes of the first state are the same, and no image is looked at.
    settings = {**recipe.settings, "sgld.init": "uniform"}
    made = in_gpu_form(recipe)._replace(settings=settings)
    least = max(recipe.batch_size_px, recipe.batch_size_label)
    run = experiment.build(made, black(recipe.spec, least))
    images = recipe.spec.num_train - recipe.val_size
    return run.step, arguments(run, recipe.spec, images)


def in_gpu_form(recipe: Recipe) -> Recipe:
    """The recipe with its chains looped, whatever this process runs on; see `backend.unrolls`."""
    return recipe._replace(constants=recipe.constants._replace(unroll=False))


def arguments(run: Experiment, spec: DatasetSpec, num_images: int) -> Arguments:
    """The shapes that a block of a run takes, with so many training images."""
    return Arguments(
        state=jax.eval_shape(run.initial_state),
        feed=run.feeder.shapes(spec.image_shape),
        data=Dataset(
            Shape((num_images, *spec.image_shape), jnp.uint8), Shape((num_images,), jnp.int32)
        ),
        key=jax.eval_shape(lambda: run.key),
        num_steps=Shape((), jnp.int32),
    )


def black(spec: DatasetSpec, count: int) -> Images:
    """Images in the shape of a data set, in turns of its classes."""
    labels = np.arange(count, dtype=np.int32) % spec.num_classes
    return Images(np.zeros((count, *spec.image_shape), np.uint8), labels)
