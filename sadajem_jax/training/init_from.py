"""Starts a run from another run's model; another number of classes gets a new head."""

from __future__ import annotations

import pathlib
from typing import Any

import jax

from sadajem_jax.console.errors import UserError
from sadajem_jax.train_state import TrainState
from sadajem_jax.workdir.checkpoint import Checkpoints, Stored

HEAD = "class_output"


def adopt(init_from: str, state: TrainState) -> TrainState:
    """The state with the last model of the run in `init_from`, said in lines; "" changes nothing.

    Step, optimizer and buffer stay this run's own; averages, where they are kept, start at the
    model adopted.

    Raises:
      UserError: if the folder holds no run, or its network is another one.
    """
    if not init_from:
        return state
    found = last_model(pathlib.Path(init_from).expanduser())
    params, batch_stats = found.state["params"], found.state.get("batch_stats") or {}
    is_other_head = _shapes(params[HEAD]) != _shapes(state.params[HEAD])
    if is_other_head:
        params = {**params, HEAD: state.params[HEAD]}
    if _shapes([params, batch_stats]) != _shapes([state.params, state.batch_stats]):
        raise UserError(
            f"config.init_from={init_from} holds another network: give the same "
            f"config.model.depth, width and norm, and images of the same channels"
        )
    adopted = jax.device_put({"params": params, "batch_stats": batch_stats})
    average = jax.tree.map(jax.numpy.copy, adopted) if state.ema else state.ema
    taken = state.replace(**adopted, ema=average)
    print(f"init_from: the model of step {found.step:,} of {init_from}", flush=True)
    print(_described(taken, is_other_head), flush=True)
    return taken


def _described(state: TrainState, is_other_head: bool) -> str:
    """What was taken over, and what starts anew."""
    taken = ["parameters"] + ["running statistics"] * bool(state.batch_stats)
    anew = ["step", "optimizer", "buffer"]
    if is_other_head:
        taken[0] = "parameters below the head"
        anew.append(f"the head ({HEAD}: another number of classes)")
    averages = "; averages start at them" if state.ema else ""
    return f"  taken over: {', '.join(taken)}{averages}; new: {', '.join(anew)}"


def require(init_from: str) -> None:
    """Refuses a folder without a run, before anything is made; "" is none.

    Raises:
      UserError: as `of_run`.
    """
    if init_from:
        of_run(pathlib.Path(init_from).expanduser())


def last_model(workdir: pathlib.Path) -> Stored:
    """What the last good checkpoint of a run holds.

    Raises:
      UserError: if there is no run or no good checkpoint.
    """
    found = of_run(workdir).read_last()
    if found is None:
        raise UserError(f"{workdir} has no checkpoint that is whole: give another run, or train it")
    return found


def of_run(workdir: pathlib.Path) -> Checkpoints:
    """The checkpoints of a run; none is read.

    Raises:
      UserError: if there is no run or no checkpoint.
    """
    if not (workdir / "checkpoints").is_dir():
        raise UserError(
            f"config.init_from must be a run's folder with checkpoints/ in it, found {workdir}"
        )
    found = Checkpoints(workdir / "checkpoints", read_only=True)
    if not found.steps():
        raise UserError(f"{workdir} has no checkpoint yet: wait for its first, or train it")
    return found


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.shape, tree)
