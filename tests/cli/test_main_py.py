"""The command line as a user meets it: help, home folders, and Ctrl-C at any moment."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import main
import sadajem_jax
from sadajem_jax.cli import config
from sadajem_jax.evaluation import parts
from tests import places, runs


def test_version(capsys: Any) -> None:
    """--version prints the version that the package has, and success."""
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"sadajem-jax {sadajem_jax.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["--mode=eval", "--help"]])
def test_help_is_a_page(argv: list[str], capsys: Any) -> None:
    """--help, -h or nothing: modes, flags, parts and every config on one screen, and success."""
    assert main.main(argv) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) < 40 and max(map(len, lines)) <= 100 and not captured.err
    for word in (
        "--mode",
        "--workdir",
        "--config.FIELD=VALUE",
        "eval",
        "sample",
        *parts.NAMES,
        *config.shipped(),
    ):
        assert word in captured.out


def test_help_comes_before_jax() -> None:
    """The page is printed at once: nothing that takes a second to import is imported for it."""
    code = "import sys, main; main.main(['-h']); print({'jax', 'flax', 'scipy'} & {*sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], cwd=places.ROOT, capture_output=True)
    assert out.stdout.decode().splitlines()[-1] == "set()", out.stderr


def test_a_home_folder_is_the_user_s(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """--workdir=~/x and --out=~/x.npz lie in the home folder, and no folder named ~ is made."""
    monkeypatch.setenv("HOME", str(tmp_path))
    argv = runs.command(pathlib.Path("~/run"))
    assert main.main(argv) == 0
    sample = ["--mode=sample", "--workdir=~/run", "--n=3", "--out=~/x.npz"]
    assert main.main(sample) == 0
    assert (tmp_path / "run" / "metrics.json").is_file() and (tmp_path / "x.npz").is_file()
    assert not (places.ROOT / "~").exists()


@pytest.mark.parametrize("moment", ["imports", "a compilation"])
def test_ctrl_c_ends_quietly(moment: str) -> None:
    """Ctrl-C in the imports or in a compilation of --mode=plan ends it, without a traceback."""
    argv = [sys.executable, "-u", "main.py", "--config=configs/digits.py", "--mode=plan"]
    process = subprocess.Popen(
        [*argv, "--config.sgld.num_steps=12"],
        cwd=places.ROOT,
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    if moment == "imports":
        time.sleep(0.5)
    else:
        while not process.stdout.readline().startswith("length:"):
            assert process.poll() is None
        time.sleep(2)  # the step of twelve chain steps takes far longer to compile
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=10)[1]
    assert process.returncode == -signal.SIGINT and error == ""


EVALUATION = """
import signal, sys, time, types
from sadajem_jax import evaluation
from sadajem_jax.cli import main
import sadajem_jax

def evaluate(config, workdir):
    print("begun", flush=True)
    time.sleep(60)

evaluation.evaluate = types.SimpleNamespace(evaluate=evaluate)
sys.modules["sadajem_jax.evaluation.evaluate"] = evaluation.evaluate
main.run_config = lambda workdir, overrides: None
main.make_ready = lambda *given: None
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as main.py
main.run(["--mode=eval", "--workdir=W"])
"""


def test_ctrl_c_in_an_evaluation_leaves_a_line() -> None:
    """It says that the same command goes on, and the process still ends by the signal, at once."""
    process = subprocess.Popen(
        [sys.executable, "-c", EVALUATION],
        cwd=places.ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline() == "workdir: W\n"
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=30)[1]
    assert error == "stopped; the same command goes on\n"
    assert process.returncode == -signal.SIGINT
