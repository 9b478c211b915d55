"""A training run: data, state, blocks of steps, checkpoints, and at the end the evaluation."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from sadajem_jax.cli import config as config_files
from sadajem_jax.cli import plan
from sadajem_jax.console.words import duration
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import accuracy
from sadajem_jax.train_state import TrainState
from sadajem_jax.training import divergence, experiment, init_from, validation
from sadajem_jax.training.experiment import Experiment
from sadajem_jax.training.lock import training_lock
from sadajem_jax.training.run_log import RunLog
from sadajem_jax.training.runner import Runner
from sadajem_jax.training.signals import StopSignal
from sadajem_jax.training.validation import Validator
from sadajem_jax.wide_resnet import WideResNet
from sadajem_jax.workdir import files, records, restarts
from sadajem_jax.workdir import folder as workdirs
from sadajem_jax.workdir.checkpoint import Checkpoints
from sadajem_jax.workdir.restarts import Retries


class Job(NamedTuple):
    """What a training has at hand.

    Attributes:
      config: checked.
      workdir: W.
      checkpoints: those of W.
      images: the training images.
      stop: whether a signal asks to leave.
    """

    config: ml_collections.ConfigDict
    workdir: pathlib.Path
    checkpoints: Checkpoints
    images: Images
    stop: StopSignal


def train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Trains into `workdir`, or goes on with what is there, and evaluates at the end.

    Args:
      config: checked.
      workdir: W, created if need be.

    Returns:
      The exit status: 0, or 128 + the signal's number after a signal.

    Raises:
      UserError: where the data, the folder or a checkpoint is not as it should be.
    """
    workdirs.prepare(workdir)
    data_dir = config.data.data_dir or None
    with training_lock(workdir), StopSignal() as stop:
        checkpoints = Checkpoints(workdir / "checkpoints", keep=config.checkpoint.keep)
        last = max(checkpoints.steps(), default=None)
        if last is not None:
            workdirs.check_same_run(workdir, config, last)
        if last == workdirs.expected_steps(config) and is_evaluated(workdir, last):
            report(config, workdir)
            return 0
        loading.check_available(get_spec(config.data.name), data_dir, "train")
        plan.check_memory(config)
        files.write_text_atomically(workdir / "config.json", config_files.to_json(config))
        loaded = loading.load(get_spec(config.data.name), "train", data_dir)
        images, _ = loading.hold_out(loaded, config.data.val_size)
        run(Job(config, workdir, checkpoints, images, stop))
        checkpoints.close()
    return 128 + stop.number if stop() else 0


def run(job: Job) -> None:
    """Attempts the run until one comes to its end or is stopped, then evaluates."""
    settings = job.config.train
    retries = restarts.read(job.workdir, job.config.sgld.num_steps)
    while True:
        divergence.retire_stale(job.checkpoints, retries)
        try:
            finished, state = attempt(job, retries)
            break
        except divergence.Diverged as found:
            retries = divergence.go_back(
                job.workdir,
                job.checkpoints,
                retries,
                str(found),
                max_restarts=settings.max_restarts,
                double_steps=settings.on_divergence == "double_steps",
            )
    if not job.stop():
        finish(job, finished, state)


def attempt(job: Job, retries: Retries) -> tuple[Experiment, TrainState]:
    """One attempt, from the last good checkpoint on, to the end or to a signal.

    Raises:
      Diverged: as `divergence.check`.
    """
    config = job.config
    made = experiment.build(config, job.images, retries.restarts, retries.num_sgld_steps)
    state = restored_or_first(job, made, retries)
    per_epoch = made.feeder.label.steps_per_epoch
    log = RunLog(
        job.workdir,
        int(state.step),
        total_steps=made.total_steps,
        every_steps=config.log.every_steps,
        batch_size=config.train.batch_size_label,
        steps_per_epoch=per_epoch,
    )
    light = functools.partial(light_look, config, made.model)
    validator = Validator(config, job.workdir, light, per_epoch)
    is_retry = retries.restarts > 0 and int(state.step) == retries.start
    validator.resume(int(state.step), is_retry=is_retry)
    try:
        state = loop(job, made, state, retries, log, validator)
    finally:
        log.close()
    return made, state


def restored_or_first(job: Job, made: Experiment, retries: Retries) -> TrainState:
    """The last good checkpoint's state, or the first state, saved as step 0's."""
    checkpoints = job.checkpoints
    like = jax.eval_shape(made.initial_state) if checkpoints.steps() else None
    found = checkpoints.restore_last(like) if like is not None else None
    if found is None:
        state = init_from.adopt(job.config, made.initial_state())
        checkpoints.save(0, state, restarts=retries.restarts)
        checkpoints.wait()
        return state
    step, state = found
    for damaged in [s for s in checkpoints.steps() if s > step]:
        checkpoints.delete(damaged)
    print(f"going on from the checkpoint of step {step:,}", flush=True)
    return state


def loop(
    job: Job,
    made: Experiment,
    state: TrainState,
    retries: Retries,
    log: RunLog,
    validator: Validator,
) -> TrainState:
    """Runs the steps that are left, saving, evaluating and drawing samples on the way."""
    runner, step = Runner(made, job.stop), int(state.step)
    saves, draws = job.config.checkpoint.every_steps, job.config.log.samples_every_steps
    while step < made.total_steps and not job.stop():
        marks = (step - step % every + every for every in (saves, draws))
        until = min(made.total_steps, validator.next_step(step), *marks)
        block = runner.run(state, step, until)
        divergence.check(step, block.metrics)  # before anything is saved
        state, step = block.state, step + len(block.metrics["loss"])
        log.add(step, block.metrics, block.seconds)
        is_last = step == made.total_steps or job.stop()
        if step % draws == 0 or is_last:
            log.samples(step, np.asarray(state.buffer[:100]))
        if validator.next_step(step - 1) == step:
            validator(step, state)
        if step % saves == 0 or is_last:
            job.checkpoints.save(step, state, restarts=retries.restarts)
    job.checkpoints.wait()
    if job.stop():
        print(f"saved at step {step:,}: the same command goes on from there", flush=True)
    return state


def finish(job: Job, made: Experiment, state: TrainState) -> None:
    """Evaluates the finished run, writes W/metrics.json and says where everything is."""
    found = test_metrics(job.config, made.model, state)
    best = validation.best_state(job.workdir, jax.eval_shape(made.initial_state))
    if best is not None:
        step, best_model = best
        at_best = test_metrics(job.config, made.model, best_model)
        found |= {f"best/{name}": value for name, value in at_best.items()}
        found |= {"best/train/steps": step}
    speed = typical_speed(job.workdir / "train_metrics.jsonl")
    found |= {"train/steps": made.total_steps, "train/images_per_second": speed}
    records.merge_metrics(job.workdir, found)
    report(job.config, job.workdir)


def light_look(
    config: ml_collections.ConfigDict, network: WideResNet, state: TrainState
) -> dict[str, float]:
    """What is cheap enough to be known while training: val/* of held-out images, else test/*."""
    if config.data.val_size == 0:
        return test_metrics(config, network, state)
    held_out = loading.hold_out(_split(config, "train"), config.data.val_size)[1]
    return _accuracy(config, network, state, held_out, "val")


def test_metrics(
    config: ml_collections.ConfigDict, network: WideResNet, state: TrainState
) -> dict[str, float]:
    """Accuracy (0 to 1) and nll (nats an image) on the test split, as test/accuracy, test/nll."""
    return _accuracy(config, network, state, _split(config, "test"), "test")


def _accuracy(
    config: ml_collections.ConfigDict,
    network: WideResNet,
    state: TrainState,
    images: Images,
    split: str,
) -> dict[str, float]:
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    size = config.eval.batch_size
    return accuracy.evaluate(network, variables, *images, batch_size=size, split=split)


def _split(config: ml_collections.ConfigDict, split: str) -> Images:
    return _loaded(config.data.name, split, config.data.data_dir or None)


@functools.cache
def _loaded(name: str, split: str, data_dir: str | None) -> Images:
    return loading.load(get_spec(name), split, data_dir)


def is_evaluated(workdir: pathlib.Path, step: int) -> bool:
    """Whether W/metrics.json holds the result of the run's last step."""
    path = workdir / "metrics.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return found.get("train/steps") == step and "test/accuracy" in found


def report(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Prints the result of a finished run."""
    found = json.loads((workdir / "metrics.json").read_text())
    images = found["train/steps"] * config.train.batch_size_label
    seconds = images / found["train/images_per_second"]
    print(
        f"test accuracy {found['test/accuracy']:.2%}, nll {found['test/nll']:.3f} nats; "
        f"{found['train/steps']:,} steps, {duration(seconds)} of training\n"
        f"numbers: {workdir / 'metrics.json'}\nsamples: {workdir / 'samples'}",
        flush=True,
    )


def typical_speed(path: pathlib.Path) -> float:
    """Median of the labelled images a second over the lines of the training log."""
    lines = path.read_text().splitlines()
    return float(np.median([json.loads(line)["images_per_second"] for line in lines]))
