"""A grid's runs, their folders and commands; a mistake in any of them is told before one begins."""

from __future__ import annotations

import pathlib
import shlex
import subprocess
from typing import Any

import pytest

from sadajem_jax.console import command as commands
from sadajem_jax.sweep import command, grid
from sadajem_jax.sweep import commands as sweep_commands
from sadajem_jax.sweep.commands import program
from tests import places
from tests.sweep.made_up import TINY, begun, finished


def test_the_grid_is_a_product_with_seeds_innermost(tmp_path: pathlib.Path) -> None:
    """Two fields of two values and three seeds are twelve runs, each with its own folder."""
    axes = grid.read(["sam.rho=0.05, 0.1", "config.sgld.num_steps=5,10"])
    runs = grid.runs("configs/digits.py", axes, 3, {}, tmp_path)
    assert len({run.workdir for run in runs}) == 12
    assert [run.point["seed"] for run in runs[:4]] == ["0", "1", "2", "0"]
    assert runs[0].name == "digits__sam.rho=0.05__sgld.num_steps=5__seed=0"
    last = runs[-1].settings
    assert (last["sam.rho"], last["sgld.num_steps"], last["seed"]) == (0.1, 10, 2)


def test_a_system_is_the_config_s_variant(tmp_path: pathlib.Path) -> None:
    """--grid system=a,b asks for FILE:a and FILE:b, in folders of these names."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from configs import digits\n\n\ndef get_config():\n    return digits.get_config()\n\n\n"
        "VARIANTS = {'one': get_config, 'two': get_config}\n"
    )
    runs = grid.runs(str(file), grid.read(["system=one,two"]), None, {}, tmp_path)
    assert [run.config for run in runs] == [f"{file}:one", f"{file}:two"]
    assert [run.name for run in runs] == ["mine-one", "mine-two"]
    assert all("system" not in run.overrides for run in runs)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--grid", "sam.rho=0.1,-1"], "config.sam.rho must be"),
        (["--grid", "sam.roh=0.1"], "did you mean config.sam.rho?"),
        (["--grid", "sam.rho"], "--grid must be FIELD=VALUE,VALUE"),
        (["--grid", "sam.rho=0.1,0.1"], "stands twice"),
        (["--grid", "seed=1,2"], "give --seeds N"),
        (["--grid", "sam.rho=0.1", "--config.sam.rho=0.2"], "both given"),
        (["--seeds", "2", "--config.seed=1"], "both given"),
        (["--seeds", "-2"], "at least 1"),
        (["--seeds", "0"], "at least 1, found 0"),
        (["--grid", "data.px_flip=False,True"], "config.data.px_flip must be False for digits"),
        (["--grid", "eval.num_bins=15,20"], "it defines no training's result"),
        (["--grid", "config.train.max_restarts=1,2"], "as --config.train.max_restarts=VALUE"),
        (["--seeds", "two"], "invalid int value"),
        (["--list", "--status"], "give one"),
        (["--sedes=3"], "unknown flag --sedes"),
        (["--grid", "init_from=a/b,a:b"], "share the folder"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    tmp_path: pathlib.Path, capsys: Any, flags: list[str], said: str
) -> None:
    """One line, exit status 2, and no folder."""
    argv = ["--config=configs/digits.py", f"--root={tmp_path}/x", *flags]
    assert commands.run(command.sweep, argv) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_the_list_is_what_a_shell_runs(tmp_path: pathlib.Path, capsys: Any) -> None:
    """A line a run that is left, quoted, the evaluation after the training; finished ones not."""
    root = tmp_path / "a folder"
    argv = [*TINY, f"--root={root}", "--grid", "sam.rho=0.1,0.2", "--seeds", "1", "--list"]
    finished(begun(argv)[0])
    assert command.sweep([*argv, "--config.eval.only=ood", "--eval"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2  # not evaluated by this sweep
    assert command.sweep(argv) == 0
    (line,) = capsys.readouterr().out.splitlines()
    words = shlex.split(line)
    assert words[: len(program())] == program() and "&&" not in words
    assert f"--workdir={root}/digits__sam.rho=0.2__seed=0" in words
    assert {"--config.sam.rho=0.2", "--config.seed=0"} <= set(words)


def test_a_slurm_script_runs_one_task(tmp_path: pathlib.Path, capsys: Any) -> None:
    """Task 1 runs the second run's commands as steps; after SIGTERM it is queued again."""
    root, file = tmp_path / "r", tmp_path / "array.sh"
    argv = [*TINY, f"--root={root}", "--grid", "sam.rho=0.1,0.2", "--eval", f"--slurm={file}"]
    assert command.sweep(argv) == 0 and root.is_dir()
    text = file.read_text()
    assert "#SBATCH --array=0-1\n" in text and "sbatch" in capsys.readouterr().out

    (tmp_path / "bin").mkdir()
    for name, status in (("srun", 0), ("scontrol", 0)):
        stub = tmp_path / "bin" / name
        stub.write_text(f'#!/bin/bash\necho "{name} $*"\nexit ${{STATUS_{name}:-{status}}}\n')
        stub.chmod(0o755)
    env = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "SLURM_ARRAY_JOB_ID": "7"}

    def task(number: str, **more: str) -> tuple[int, list[str]]:
        given = env | {"SLURM_ARRAY_TASK_ID": number} | more
        done = subprocess.run(["bash", str(file)], env=given, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()

    status, (training, evaluation) = task("1")
    assert status == 0 and "--config.sam.rho=0.2" in training and "--mode=eval" in evaluation
    assert task("2") == (2, [])
    status, lines = task("0", STATUS_srun="143")
    assert status == 143 and len(lines) == 2 and lines[1] == "scontrol requeue 7_0"
    status, lines = task("0", STATUS_srun="1")
    assert status == 1 and len(lines) == 1


def test_an_installed_program_needs_no_main_py(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no main.py lies beside the package, the same modes are run without it."""
    monkeypatch.setattr(sweep_commands, "MAIN", pathlib.Path("/nowhere/main.py"))
    argv = [*sweep_commands.program(), "--mode=nonsense"]
    done = subprocess.run(argv, cwd=places.ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "--mode must be one of train" in done.stderr
