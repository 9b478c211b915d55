"""A training run: data, state, blocks of steps, checkpoints, and at the end the evaluation."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import backend
from sadajem_jax.console import lost, processes
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.processes import of_first
from sadajem_jax.console.progress import Progress
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation import hardware
from sadajem_jax.train_state import TrainState
from sadajem_jax.training import (
    divergence,
    experiment,
    identity,
    init_from,
    memory,
    outlook,
    result,
    schedule,
    sharding,
)
from sadajem_jax.training.experiment import Experiment
from sadajem_jax.training.lock import training_lock
from sadajem_jax.training.recipes import Recipe
from sadajem_jax.training.run_log import Quiet, RunLog
from sadajem_jax.training.runner import Runner
from sadajem_jax.training.signals import Agreed, StopSignal
from sadajem_jax.training.validation import Validator
from sadajem_jax.training.watch import spread
from sadajem_jax.workdir import folder, restarts
from sadajem_jax.workdir import settings as run_settings
from sadajem_jax.workdir.checkpoint import Checkpoints
from sadajem_jax.workdir.restarts import Retries

COMPILING = "compiling the training step: a minute or less, seconds where it is known"
SHOWN = 100  # buffer images of a grid, and those that the watch looks at


class Job(NamedTuple):
    """What a training has at hand.

    Attributes:
      recipe: of the run.
      workdir: W.
      checkpoints: those of W.
      images: the training images.
      held_out: the validation images, maybe none.
      trained_on: the mark of the whole training split.
      stop: whether a signal asks to leave.
    """

    recipe: Recipe
    workdir: pathlib.Path
    checkpoints: Checkpoints
    images: Images
    held_out: Images
    trained_on: identity.TrainingSet
    stop: Agreed


def train(recipe: Recipe, workdir: pathlib.Path) -> int:
    """Trains into `workdir`, or goes on with what is there, and evaluates at the end.

    Args:
      recipe: of the run.
      workdir: W, created if need be.

    Returns:
      The exit status: 0, or 128 + the signal's number after a signal.

    Raises:
      UserError: where the data, the folder or a checkpoint is not as it should be.
    """
    of_first(functools.partial(folder.prepare, workdir))
    lost.resumes_from(functools.partial(folder.last_step, workdir))
    with held(workdir), StopSignal() as signals:
        stop = Agreed(signals)
        checkpoints = Checkpoints(workdir / "checkpoints", keep=recipe.cadence.keep)
        past = of_first(functools.partial(identity.find, workdir, checkpoints))
        if past is not None:
            identity.require_same(past, recipe.settings, recipe.spec.num_train, workdir)
        if past is not None and of_first(lambda: result.is_there(past, recipe, workdir)):
            of_first(lambda: run_settings.mend(workdir, recipe.settings))
            print("this run is at its end; what it came to:", flush=True)
            of_first(lambda: result.report(recipe, workdir))
            return 0
        run(prepared(recipe, workdir, checkpoints, past, stop))
        checkpoints.close()
    return 128 + stop.number if stop.number else 0


@contextlib.contextmanager
def held(workdir: pathlib.Path) -> Iterator[None]:
    """The training's lock on W, which the first process holds."""
    with contextlib.ExitStack() as stack:

        def lock() -> None:
            stack.enter_context(training_lock(workdir))

        of_first(lock)
        yield


def prepared(
    recipe: Recipe,
    workdir: pathlib.Path,
    checkpoints: Checkpoints,
    past: identity.Past | None,
    stop: Agreed,
) -> Job:
    """Loads the images, and claims the folder only when they and the devices are found right."""
    devices = jax.device_count()
    recipe = sharding.shared(recipe, devices)
    if devices > 1:
        where = f" of {processes.count()} processes" if processes.count() > 1 else ""
        print(f"{devices} devices{where} share the batches", flush=True)
    if past is None:
        experiment.require_mirrors(recipe)
        of_first(lambda: init_from.require(recipe.init_from))
    loading.check_available(recipe.spec, recipe.data_dir, "train")
    memory.check(recipe)
    loaded = processes.first_then_all(lambda: loading.load(recipe.spec, "train", recipe.data_dir))
    trained_on = identity.mark_of(loaded)
    if past is not None:
        identity.require_same_images(past, trained_on, workdir)
    require_more_than_held_out(recipe, trained_on.images)
    images, held_out = loading.hold_out(loaded, recipe.val_size)
    experiment.require_enough(recipe, images)
    print(f"{described(recipe)}; {len(images.labels):,} training images", flush=True)
    if past is None:
        if backend.on_cpu() and recipe.network.dtype == jnp.bfloat16:
            print("a CPU is faster in float32: --config.model.dtype=float32", flush=True)
        of_first(lambda: folder.set_aside(workdir))
    outlook.tell(recipe, recipe.total_steps(len(images.labels)) - (past.step if past else 0))
    of_first(lambda: run_settings.write(workdir, recipe.settings))
    return Job(recipe, workdir, checkpoints, images, held_out, trained_on, stop)


def described(recipe: Recipe) -> str:
    """Network, data and device, in a line."""
    network, count = recipe.network, memory.parameters(recipe)
    return (
        f"WRN-{network.depth}-{network.width}, {count:,} parameters, on {recipe.spec.name}, "
        f"in {jnp.dtype(network.dtype)} by {hardware.hardware()}"
    )


def require_more_than_held_out(recipe: Recipe, there: int) -> None:
    """Raises UserError where no image is left to train on."""
    if recipe.val_size >= there:
        raise UserError(
            f"config.data.val_size must be below the {there:,} training images that are there, "
            f"found {recipe.val_size:,}; lower it, or give a folder that holds more"
        )


def run(job: Job) -> None:
    """Attempts the run until one comes to its end or is stopped, then evaluates."""
    rule = job.recipe.retrying
    retries = of_first(lambda: restarts.read(job.workdir, job.recipe.constants.num_steps))
    while True:
        divergence.retire_stale(job.checkpoints, retries)
        try:
            state = attempt(job, retries)
            break
        except divergence.Diverged as found:
            job.checkpoints.wait()
            given = (job.workdir, job.checkpoints, retries, str(found))
            retries = of_first(functools.partial(divergence.go_back, *given, **rule._asdict()))
    if not job.stop():
        job.stop.all_is_saved()
        result.write(job.recipe, job.workdir, state)
        of_first(lambda: result.report(job.recipe, job.workdir))


def attempt(job: Job, retries: Retries) -> TrainState:
    """One attempt, from the last good checkpoint on, to the end or to a signal.

    Raises:
      Diverged: as `divergence.check`.
    """
    restarts, num_sgld_steps = retries.restarts, retries.num_sgld_steps
    over = sharding.mesh_of(job.recipe)
    made = experiment.build(job.recipe, job.images, restarts, num_sgld_steps, over=over)
    runner = Runner(made, job.stop)
    state, first_spread = ready(job, runner)
    notes = identity.notes(job.recipe.settings, job.trained_on, first_spread)
    notes |= {"restarts": restarts, "num_sgld_steps": num_sgld_steps}
    step = int(state.step)
    log = opened_log(job, made, step, first_spread)
    validator = opened_validator(job, made, step, notes, log)
    with contextlib.closing(log), contextlib.closing(validator):
        return loop(job, runner, state, notes, log, validator)


def ready(job: Job, runner: Runner) -> tuple[TrainState, float]:
    """The state to go on from and the spread of the first buffer, once the step is compiled.

    The devices fill the buffer while this process compiles.
    """
    state, known = restored_or_first(job, runner.experiment)
    print(COMPILING, flush=True)
    with Progress("getting ready"):
        runner.compile(state)
        return state, spread(shown(state)) if known is None else known


def opened_log(job: Job, made: Experiment, step: int, first_spread: float) -> RunLog | Quiet:
    """What the run tells from `step` on; of several processes the first alone speaks."""
    return (RunLog if processes.is_first() else Quiet)(
        job.workdir,
        step,
        total_steps=made.total_steps,
        every_steps=job.recipe.cadence.log,
        batch_size=job.recipe.batch_size_label,
        steps_per_epoch=per_epoch(job),
        first_spread=first_spread,
        rates=schedule.rates(made.rate, made.total_steps),
        settings=job.recipe.settings,
    )


def opened_validator(
    job: Job, made: Experiment, step: int, notes: dict[str, Any], log: RunLog | Quiet
) -> Validator:
    """What judges the model on the way, and tells the log."""
    return Validator(
        job.workdir,
        step,
        functools.partial(result.light, job.recipe, job.held_out),
        tell=log.evaluated,
        every_steps=job.recipe.cadence.validate_epochs * per_epoch(job),
        total_steps=made.total_steps,
        judges=job.recipe.val_size > 0,
        notes=notes,
    )


def per_epoch(job: Job) -> int:
    """Steps an epoch."""
    return schedule.steps_per_epoch(job.recipe.settings, len(job.images.labels))


def restored_or_first(job: Job, made: Experiment) -> tuple[TrainState, float | None]:
    """(last good checkpoint's state or the first one, the first buffer's spread where noted)."""
    checkpoints = job.checkpoints
    found = checkpoints.read_last()
    if found is None:
        print(f"filling the buffer with {job.recipe.buffer_size:,} chain starts", flush=True)
        state = init_from.adopt(job.recipe.init_from, made.initial_state())
        return state, None
    state = checkpoints.fill(jax.eval_shape(made.initial_state), found)
    for damaged in [s for s in checkpoints.steps() if s > found.step]:
        checkpoints.delete(damaged)
    print(f"going on from the checkpoint of step {found.step:,}", flush=True)
    return state, found.notes.get("first_spread")  # none of an older version's


def shown(state: TrainState) -> np.ndarray:
    """The buffer's first images, on the host."""
    return sharding.on_host(state.buffer[:SHOWN])


def loop(
    job: Job,
    runner: Runner,
    state: TrainState,
    notes: dict[str, Any],
    log: RunLog | Quiet,
    validator: Validator,
) -> TrainState:
    """Runs the steps that are left, saving, evaluating and drawing samples on the way."""
    made, step, cadence = runner.experiment, int(state.step), job.recipe.cadence
    drawn = -1
    job.checkpoints.save(step, state, **notes)
    while step < made.total_steps and not job.stop():
        marks = (step - step % every + every for every in (cadence.save, cadence.draw))
        until = min(made.total_steps, validator.next_step(step), *marks)
        block = runner.run(state, step, until)
        divergence.check(step, block.metrics)  # before anything is saved
        state, step = block.state, step + len(block.metrics["loss"])
        log.add(step, block.metrics, block.seconds)
        if step % cadence.draw == 0 and job.recipe.has_chains:
            drawn = step
            log.samples(step, shown(state))
        if validator.next_step(step - 1) == step:
            validator(step, state)
        if step % cadence.save == 0:
            job.checkpoints.save(step, state, **notes)
        log.page(is_saved=step % cadence.save == 0)
    # Here, and not in the loop: a signal may come while samples are drawn or images validated.
    job.checkpoints.save(step, state, **notes)
    if drawn != step and job.recipe.has_chains:
        log.samples(step, shown(state))
    job.checkpoints.wait()
    if job.stop():
        print(f"saved at step {step:,}: the same command goes on from there", flush=True)
        log.page(is_last=True)
    return state
