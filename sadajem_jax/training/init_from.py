"""Starts a run from another run's model; another number of classes gets a new head."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import ml_collections

from sadajem_jax.cli import config as config_files
from sadajem_jax.console.errors import UserError
from sadajem_jax.data.specs import get_spec
from sadajem_jax.train_state import TrainState, create
from sadajem_jax.training import experiment, schedule
from sadajem_jax.workdir.checkpoint import Checkpoints

HEAD = "class_output"


def adopt(config: ml_collections.ConfigDict, state: TrainState) -> TrainState:
    """The state with the model of `config.init_from`'s last checkpoint; as it is where that is "".

    Step, optimizer and buffer stay this run's own.

    Raises:
      UserError: if the folder holds no run, or its network is another one.
    """
    if not config.init_from:
        return state
    params, batch_stats = last_model(pathlib.Path(config.init_from))
    if _shapes(params[HEAD]) != _shapes(state.params[HEAD]):
        params = {**params, HEAD: state.params[HEAD]}
    if _shapes(params) != _shapes(state.params) or _shapes(batch_stats) != _shapes(
        state.batch_stats
    ):
        raise UserError(
            f"config.init_from={config.init_from} holds another network: give the same "
            f"config.model.depth, width and norm, and images of the same channels"
        )
    return state.replace(params=params, batch_stats=batch_stats)


def last_model(workdir: pathlib.Path) -> tuple[Any, Any]:
    """(params, batch_stats) of a run's last good checkpoint.

    Raises:
      UserError: if there is no run or no checkpoint.
    """
    path = workdir / "config.json"
    if not path.is_file() or not (workdir / "checkpoints").is_dir():
        raise UserError(f"expected a run's folder (config.json, checkpoints/), found {workdir}")
    old = config_files.from_json(path.read_text())
    found = Checkpoints(workdir / "checkpoints", read_only=True).restore_last(blueprint(old))
    if found is None:
        raise UserError(f"{workdir} has no checkpoint yet: wait for its first, or train it")
    return found[1].params, found[1].batch_stats


def blueprint(config: ml_collections.ConfigDict) -> TrainState:
    """Shapes and dtypes of a run's state, from its config alone."""
    spec = get_spec(config.data.name)
    shape = (spec.image_size, spec.image_size, spec.channels)
    constant = schedule.learning_rate("constant", config.train.learning_rate, 1)
    model, tx = experiment.network(config), experiment.optimizer(config, constant)
    decay = config.train.ema_decay

    def make(key: jax.Array) -> TrainState:
        buffer = jax.numpy.zeros((config.buffer.size, *shape))
        return create(key, model, tx, shape, buffer, ema=decay > 0)

    return jax.eval_shape(make, jax.random.key(0))


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.shape, tree)
