"""A training run: data, state, blocks of steps, checkpoints, and at the end the evaluation."""

from __future__ import annotations

import json
import pathlib

import jax
import ml_collections
import numpy as np

from sadajem_jax import config as config_files
from sadajem_jax import data, evaluate, experiment, files
from sadajem_jax.checkpoint import Checkpoints
from sadajem_jax.experiment import Experiment
from sadajem_jax.run_log import RunLog, duration
from sadajem_jax.runner import Runner
from sadajem_jax.train_state import TrainState


def train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Trains into `workdir`, or goes on with what is there, and evaluates at the end.

    Args:
      config: checked.
      workdir: W, created if need be.

    Raises:
      UserError: where the data, the folder or a checkpoint is not as it should be.
    """
    data_dir = config.data.data_dir or None
    data.check_available(config.data.name, data_dir, "train")
    workdir.mkdir(parents=True, exist_ok=True)
    files.write_text_atomically(workdir / "config.json", config_files.to_json(config))
    run = experiment.build(config, data.load(config.data.name, "train", data_dir))
    checkpoints = Checkpoints(workdir / "checkpoints", keep=config.checkpoint.keep)
    state = restored_or_first(run, checkpoints)
    log = run_log(config, workdir, run, int(state.step))
    state = loop(config, run, state, checkpoints, log)
    finish(config, workdir, run, state, log)
    checkpoints.close()


def restored_or_first(run: Experiment, checkpoints: Checkpoints) -> TrainState:
    """The last good checkpoint's state, or the first state, saved as step 0's."""
    like = jax.eval_shape(run.initial_state) if checkpoints.steps() else None
    found = checkpoints.restore_last(like) if like is not None else None
    if found is None:
        state = run.initial_state()
        checkpoints.save(0, state)
        return state
    step, state = found
    print(f"going on from the checkpoint of step {step:,}", flush=True)
    return state


def run_log(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, run: Experiment, step: int
) -> RunLog:
    """The log of a run that begins or goes on at `step`."""
    return RunLog(
        workdir,
        step,
        total_steps=run.total_steps,
        every_steps=config.log.every_steps,
        batch_size=config.train.batch_size_label,
        steps_per_epoch=run.feeder.label.steps_per_epoch,
    )


def loop(
    config: ml_collections.ConfigDict,
    run: Experiment,
    state: TrainState,
    checkpoints: Checkpoints,
    log: RunLog,
) -> TrainState:
    """Runs the steps that are left, saving and drawing samples on the way."""
    runner = Runner(run)
    step = int(state.step)
    cadences = (config.checkpoint.every_steps, config.log.samples_every_steps)
    while step < run.total_steps:
        until = min(run.total_steps, *(step - step % every + every for every in cadences))
        block = runner.run(state, step, until)
        state = block.state
        step += len(block.metrics["loss"])
        log.add(step, block.metrics, block.seconds)
        is_last = step == run.total_steps
        if step % config.log.samples_every_steps == 0 or is_last:
            log.samples(step, np.asarray(state.buffer[:100]))
        if step % config.checkpoint.every_steps == 0 or is_last:
            checkpoints.save(step, state)
    checkpoints.wait()
    return state


def finish(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    run: Experiment,
    state: TrainState,
    log: RunLog,
) -> None:
    """Evaluates the finished run, writes W/metrics.json and says where everything is."""
    log.close()
    found = evaluate.test_metrics(config, run.model, state)
    speed = typical_speed(workdir / "train_metrics.jsonl")
    found |= {"train/steps": run.total_steps, "train/images_per_second": speed}
    evaluate.merge_metrics(workdir, found)
    seconds = run.total_steps * config.train.batch_size_label / speed
    print(
        f"test accuracy {found['test/accuracy']:.2%}, nll {found['test/nll']:.3f} nats; "
        f"{run.total_steps:,} steps in {duration(seconds)} of training\n"
        f"numbers: {workdir / 'metrics.json'}\nsamples: {workdir / 'samples'}",
        flush=True,
    )


def typical_speed(path: pathlib.Path) -> float:
    """Median of the labelled images a second over the lines of the training log."""
    lines = path.read_text().splitlines()
    return float(np.median([json.loads(line)["images_per_second"] for line in lines]))
