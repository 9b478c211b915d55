"""The installed program: what the wheel holds, and that it needs no checkout beside it."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests import models, places

SOURCES = ("sadajem_jax", "configs", "pyproject.toml", "README.md", "LICENSE", "requirements.txt")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the wheel's files in it, built from a copy: the build writes beside them."""
    source, wheel = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        path = places.ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(path, source / name, ignore=ignored) if path.is_dir() else shutil.copy(
            path, source / name
        )
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(wheel), str(source)], check=True, capture_output=True)
    with zipfile.ZipFile(next(wheel.glob("*.whl"))) as archive:
        archive.extractall(wheel / "site")
    return wheel / "site"


def run(installed: pathlib.Path, folder: pathlib.Path, code: str) -> str:
    """Runs code in a folder with the wheel's package, and not the checkout's, on the path."""
    env = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_package_is_in_the_wheel(installed: pathlib.Path) -> None:
    """All modules, the defaults, the page's style and the configs are there."""
    for path in (places.ROOT / "sadajem_jax").rglob("*"):
        if path.suffix in (".py", ".json", ".css", ".toml", ".typed"):
            assert (installed / path.relative_to(places.ROOT)).is_file(), path
    for path in (places.ROOT / "configs").glob("*.py"):
        assert (installed / "sadajem_jax" / "configs" / path.name).read_text() == path.read_text()


def test_loading_a_model_executes_no_config(
    installed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """`load` works from the wheel, in a folder whose configs/cifar10.py must not be run."""
    models.make_run(tmp_path / "run")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "cifar10.py").write_text("raise SystemExit('executed')\n")
    code = "import sadajem_jax; m = sadajem_jax.load('run'); print(sadajem_jax.__file__, m.step)"
    out = run(installed, tmp_path, code)
    assert out.split() == [str(installed / "sadajem_jax" / "__init__.py"), "0"]


def test_the_configs_of_the_wheel_are_found(
    installed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """--config=configs/cifar100.py names the shipped one where the folder holds none."""
    code = "from sadajem_jax.cli import config as c; print(c.load('configs/cifar100.py').data.name)"
    assert run(installed, tmp_path, code).strip() == "cifar100"


def test_the_installed_program_runs_as_a_module(
    installed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """`python -m sadajem_jax` is main.py in any folder: its page names it, and its configs load."""
    code = """
import runpy, sys
for argv in (["--help"], ["--config=configs/digits.py:jem", "--config.seed=-1"]):
    sys.argv[1:] = argv
    try:
        runpy.run_module("sadajem_jax", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        print(ended.code)
"""
    said = run(installed, tmp_path, code)
    assert "python -m sadajem_jax --mode=eval" in said and "main.py" not in said
    assert max(map(len, said.splitlines())) <= 100 and said.split()[-1] == "2"
