"""A sweep goes on: after a kill, past a run that fails, and it says what is left."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from sadajem_jax.sweep import command, going, process
from sadajem_jax.sweep.process import Runner, Stopped
from sadajem_jax.sweep.record import Record
from sadajem_jax.training.lock import training_lock
from tests import places, runs
from tests.sweep.made_up import TINY, Main, begun, finished


@pytest.fixture
def argv(tmp_path: pathlib.Path) -> list[str]:
    """Four runs: two radii, two seeds."""
    return [*TINY, f"--root={tmp_path / 'sweep'}", "--grid", "sam.rho=0.1,0.2", "--seeds", "2"]


def test_all_runs_are_done_in_order(argv: list[str], capsys: Any) -> None:
    """Each is trained and then evaluated, one after another; the status is 0."""
    main = Main(begun(argv), lambda run, stage: 0)
    assert command.sweep([*argv, "--eval"], main) == 0
    names = [run.name for run in begun(argv)]
    assert main.done == [(name, s) for name in names for s in ("training", "evaluation")]
    assert "4 runs: 4 finished, 0 left" in capsys.readouterr().out


def test_the_same_command_goes_on_after_a_kill(argv: list[str]) -> None:
    """Killed in the third run, it begins with the third; finished ones are not run again."""
    made = begun(argv)

    def killed(run: Any, stage: str) -> int:
        if run == made[2]:
            raise KeyboardInterrupt
        return 0

    first = Main(made, killed)
    with pytest.raises(KeyboardInterrupt):
        command.sweep(argv, first)
    second = Main(made, lambda run, stage: 0)
    assert command.sweep(argv, second) == 0
    assert [name for name, _ in second.done] == [run.name for run in made[2:]]


STAND_IN = """
import fcntl, pathlib, shutil, sys, time
(folder,) = (pathlib.Path(w[10:]) for w in sys.argv if w.startswith("--workdir="))
ready = pathlib.Path(__file__).parent / "ready" / folder.name
if ready.is_dir():
    sys.exit(shutil.copytree(ready, folder) != folder)
folder.mkdir()
lock = open(folder / ".training.lock", "a")
fcntl.flock(lock, fcntl.LOCK_EX)
while True:  # as a training that takes long, until nobody hears it
    print("step", flush=True)
    time.sleep(0.05)
"""
SWEEP = """
import sys
from sadajem_jax.sweep import command, commands
commands.program = lambda: [sys.executable, sys.argv[1]]
command.sweep(sys.argv[2:])
"""


def test_a_sweep_that_was_killed_goes_on(argv: list[str], tmp_path: pathlib.Path) -> None:
    """After SIGKILL in the second run, that one's process ends, and the command begins with it."""
    made, stand_in = begun(argv), tmp_path / "stand_in.py"
    stand_in.write_text(STAND_IN)
    ready = made[0]._replace(workdir=tmp_path / "ready" / made[0].name)
    finished(ready)
    words = [sys.executable, "-c", SWEEP, str(stand_in), *argv]
    with subprocess.Popen(words, cwd=places.ROOT, text=True, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        said = list(itertools.takewhile(lambda line: line != "step\n", first.stdout))
        first.kill()
    assert first.returncode == -signal.SIGKILL and f"== run 2 of 4: {made[1].name}\n" in said
    second = Main(made, lambda run, stage: 0)
    assert command.sweep(argv, second) == 0
    assert [name for name, _ in second.done] == [run.name for run in made[1:]]
    with training_lock(made[1].workdir):  # else refused: it was awaited
        pass


def test_a_failing_run_does_not_stop_the_others(argv: list[str], capsys: Any) -> None:
    """The second fails: the others are done, it is named with its error at the end, status 1."""
    made = begun(argv)
    main = Main(made, lambda run, stage: 3 if run == made[1] else 0)
    assert command.sweep(argv, main) == 1
    assert len(main.done) == 4
    out = capsys.readouterr().out
    assert "4 runs: 3 finished, 0 left, 1 failed" in out
    assert f"failed: {made[1].name}: training ended with exit status 3: error: it is broken" in out
    again = Main(made, lambda run, stage: 0)
    assert command.sweep(argv, again) == 0 and [n for n, _ in again.done] == [made[1].name]


def test_what_goes_wrong_beside_a_run_fails_it_alone(argv: list[str], capsys: Any) -> None:
    """Where a run's stand-in meets a full disk, the run has failed with the system's words."""
    made = begun(argv)

    def full(run: Any, stage: str) -> int:
        if run == made[0]:
            raise OSError(28, "No space left on device", "a file")
        return 0

    assert command.sweep(argv, Main(made, full)) == 1
    out = capsys.readouterr().out
    assert f"failed: {made[0].name}: No space left on device (a file)" in out
    assert "4 runs: 3 finished" in out


def test_a_run_that_failed_is_not_evaluated(argv: list[str]) -> None:
    """An evaluation follows a training that went well alone."""
    main = Main(begun(argv), lambda run, stage: 1)
    assert command.sweep([*argv, "--eval"], main) == 1
    assert {stage for _, stage in main.done} == {"training"}


def test_an_evaluation_is_done_again_for_other_flags_only(argv: list[str]) -> None:
    """The same command evaluates nothing again; with other parts asked for it does, all four."""
    runs = begun(argv)
    for flags, count in (([], 8), ([], 0), (["--config.eval.only=ood"], 4)):
        main = Main(runs, lambda run, stage: 0)
        assert command.sweep([*argv, "--eval", *flags], main) == 0
        assert len(main.done) == count


@pytest.mark.parametrize("what", ["other settings", "an earlier end", "no numbers", "damage"])
def test_what_is_not_surely_finished_is_left_to_main(argv: list[str], what: str) -> None:
    """Main is asked for a folder of other settings or steps, without numbers, or damaged."""
    made = begun(argv)[0]
    other = made.settings | {"sam.rho": 0.7}
    finished(
        made._replace(settings=other) if what == "other settings" else made,
        steps=10 if what == "an earlier end" else 20,
    )
    if what == "no numbers":
        (made.workdir / "metrics.json").unlink()
    if what == "damage":
        (made.workdir / "metrics.json").write_text("{")
    main = Main(begun(argv), lambda run, stage: 1)
    command.sweep(argv, main)
    assert main.done[0] == (made.name, "training")


def record(tmp_path: pathlib.Path, seconds: dict[str, float]) -> None:
    """What a sweep knows of its trainings' times."""
    text = {n: {"training": {"seconds": s, "status": 0}} for n, s in seconds.items()}
    (tmp_path / "sweep").mkdir(exist_ok=True)
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(text))


def test_the_time_left_is_that_of_the_runs_most_alike(
    argv: list[str], tmp_path: pathlib.Path, capsys: Any
) -> None:
    """A finished seed of the same radius tells 60 s, another radius none; half done, 30."""
    made = begun(argv)
    command.sweep([*argv, "--status"])
    assert "known when the first is finished" in capsys.readouterr().out
    for run in (made[0], made[2]):
        finished(run)
    record(tmp_path, {made[0].name: 600.0, made[2].name: 60.0})
    command.sweep([*argv, "--status"])
    assert "4 runs: 2 finished, 2 left; about 11 min 00 s left" in capsys.readouterr().out
    finished(made[1])
    made[3].workdir.mkdir()
    (made[3].workdir / "train_metrics.jsonl").write_text('{"step": 10}\n')
    command.sweep([*argv, "--status"])
    assert "1 left; about 30 s left" in capsys.readouterr().out


def test_times_of_runs_that_a_scheduler_made_are_their_logs_own(
    argv: list[str], capsys: Any
) -> None:
    """Without a record, 20 steps of 64 images at 16 a second are 80 s for each of three others."""
    made = begun(argv)[0]
    finished(made)
    path = made.workdir / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"train/images_per_second": 16.0}))
    command.sweep([*argv, "--status"])
    assert "about 4 min 00 s left" in capsys.readouterr().out


def test_what_a_stopped_attempt_took_counts(argv: list[str], tmp_path: pathlib.Path) -> None:
    """A run's seconds are those of all its attempts, and it has none before it ends well."""
    made = begun(argv)

    def stopped(run: Any, stage: str) -> int:
        time.sleep(0.2)
        raise Stopped(15)

    assert command.sweep(argv, Main(made, stopped)) == 143
    sweep = going.Sweep(made, tmp_path / "sweep", False, Main(made, lambda run, stage: 0))
    assert sweep.record.seconds(made[0].name, "training") is None
    sweep.go()
    seconds = sweep.record.seconds(made[0].name, "training")
    assert seconds is not None and seconds >= 0.2


def test_two_sweeps_of_one_root_keep_each_other_s_records(tmp_path: pathlib.Path) -> None:
    """What one writes while the other is on is still there when that one has written."""
    first, second = Record(tmp_path), Record(tmp_path)
    first.add("a", "training", 60.0, 0)
    second.add("b", "training", 30.0, 0)
    known = Record(tmp_path)
    assert (known.seconds("a", "training"), known.seconds("b", "training")) == (60.0, 30.0)


def test_a_training_that_outlived_the_sweep_is_awaited(argv: list[str], capsys: Any) -> None:
    """A folder that another process holds is tried again, until it is let go."""
    run = begun(argv)[0]
    run.workdir.mkdir(parents=True)
    with training_lock(run.workdir):
        going.wait_for(run, seconds=0.05)
    assert "another training is running" in capsys.readouterr().out
    going.wait_for(run, seconds=60)
    assert not capsys.readouterr().out


SLEEPER = """
import signal, sys, time
def leave(number, frame):
    print("saved", flush=True)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, leave)
print("begun", flush=True)
time.sleep(60)
"""


def test_a_signal_reaches_the_command_and_stops_the_sweep(
    tmp_path: pathlib.Path, capsys: Any
) -> None:
    """The command hears SIGTERM, saves and leaves; then the sweep does, its handlers restored."""
    log, before = tmp_path / "log.txt", signal.getsignal(signal.SIGTERM)

    def send() -> None:
        while not (log.exists() and "begun" in log.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send, daemon=True).start()
    with pytest.raises(Stopped) as stopped:
        Runner()([sys.executable, "-c", SLEEPER], log)
    assert stopped.value.number == signal.SIGTERM
    assert log.read_text() == "begun\nsaved\n" == capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_s_status_and_last_error_are_kept(tmp_path: pathlib.Path) -> None:
    """Of a command that fails the status is handed on, and its last error line stands out."""
    log = tmp_path / "log.txt"
    code = "import sys; print('error: bad', file=sys.stderr); print('more'); sys.exit(5)"
    assert Runner()([sys.executable, "-c", code], log) == 5
    assert process.last_words(log) == "error: bad"


def test_a_real_run_is_finished_for_the_sweep(tmp_path: pathlib.Path) -> None:
    """One real training on digits; the same command then runs nothing and succeeds."""
    flags = [
        w
        for w in runs.command(tmp_path)
        if not w.startswith(("--workdir", "--config.train.", "--config.sam."))
    ]
    argv = [*flags, "--config.train.batch_size_px=8", "--config.train.batch_size_label=16"]
    argv += ["--config.train.num_steps=3", "--grid", "sam.rho=0", f"--root={tmp_path}"]
    module = [sys.executable, "-m", "sadajem_jax.sweep"]
    first = subprocess.run([*module, *argv], cwd=places.ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "== 1 runs: 1 finished, 0 left" in first.stdout and "test accuracy" in first.stdout
    (run,) = begun(argv)
    assert (run.workdir / "checkpoints" / "3").is_dir()
    nothing = Main([run], lambda run, stage: 1)
    assert command.sweep(argv, nothing) == 0 and not nothing.done
