"""Small models for the tests: a run's folder made without training, and a network with a law."""

from __future__ import annotations

import pathlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from sadajem_jax.batch_norm import BatchNorm
from sadajem_jax.cli import config as config_files
from sadajem_jax.data import loading
from sadajem_jax.inference import build
from sadajem_jax.inference.model import Model
from sadajem_jax.row_groups import Groups
from sadajem_jax.training import experiment, recipes
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.checkpoint import Checkpoints

TINY = {
    "model.width": 1,
    "sgld.num_steps": 2,
    "buffer.size": 40,
    "buffer.reinit_prob": 0.5,
    "train.batch_size_px": 8,
    "train.batch_size_label": 16,
}


def settings(**overrides: Any) -> ml_collections.ConfigDict:
    """The digits' config, tiny; overrides by field, a double underscore for the dot."""
    config = config_files.load("configs/digits.py")
    fields = TINY | {name.replace("__", "."): value for name, value in overrides.items()}
    config_files.override(config, {name: str(value) for name, value in fields.items()})
    return config


def make_run(workdir: pathlib.Path, steps: tuple[int, ...] = (0,), **overrides: Any) -> None:
    """What a training leaves in W: first weights with a livelier head, statistics no default."""
    config = settings(**overrides)
    workdir.mkdir(parents=True, exist_ok=True)
    recipe = recipes.of(config)
    run_settings.write(workdir, recipe.settings)
    state = experiment.build(recipe, loading.load(recipe.spec, "train")).initial_state()
    head = jax.tree.map(lambda x: 10 * x, state.params["class_output"])
    state = state.replace(params={**state.params, "class_output": head})
    key = jax.random.key(1)
    stats = jax.tree.map(
        lambda x: x + jax.random.uniform(key, x.shape, maxval=0.5), state.batch_stats
    )
    checkpoints = Checkpoints(workdir / "checkpoints")
    for step in steps:
        moved = state.replace(step=jnp.asarray(step), batch_stats=stats)
        checkpoints.save(step, moved, restarts=0)
    checkpoints.close()


class Bells(nn.Module):
    """f(x)[y] = -|x - mean_y|^2 / 2: p(x, y) is a Gaussian around the mean of class y."""

    means: tuple[tuple[float, ...], ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, groups: Groups = ()) -> jax.Array:
        """[B, H, W, channels] -> [B, C]."""
        between = x.reshape(len(x), 1, -1) - jnp.asarray(self.means, x.dtype)
        return -jnp.sum(jnp.square(between), axis=-1) / 2


class TwoLayers(nn.Module):
    """Two convolutions with batch norm: all that rows can be coupled by, and quick to compile."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, groups: Groups = ()) -> jax.Array:
        """[B, H, W, channels] -> [B, 10]."""
        for size in (1, 2):
            x = nn.Conv(8 * size, (3, 3), (size, size), use_bias=False, dtype=self.dtype)(x)
            x = nn.leaky_relu(BatchNorm(dtype=self.dtype)(x, train, groups), 0.2)
        return nn.Dense(10)(jnp.mean(x.astype(jnp.float32), axis=(1, 2)))


def model_of(
    config: ml_collections.ConfigDict,
    variables: Any,
    buffer: Any,
    network: Any = None,
    **of_model: Any,
) -> Model:
    """The model of a config; with another network, if one is given."""
    flat = run_settings.flat(config.to_dict())
    made = build.model(flat, variables, buffer, **of_model)
    if network is None:
        return made
    generator = made.generator
    generator.network = network
    return Model(
        network, variables, generator, spec=made.spec, training_images=lambda: made.training_images
    )


def bells(**overrides: Any) -> tuple[Model, np.ndarray]:
    """A model whose density is known, and its class means [C, H, W, channels]."""
    means = np.random.default_rng(0).choice([-0.5, 0.5], (10, 64))
    network = Bells(tuple(map(tuple, means.tolist())))
    config = settings(**overrides)
    buffer = np.random.default_rng(1).uniform(-1, 1, (config.buffer.size, 8, 8, 1))
    return model_of(config, {}, buffer, network), means.reshape(10, 8, 8, 1).astype(np.float32)
