"""Compiled programs are kept between starts, each machine's apart."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from sadajem_jax.cli import compiled
from sadajem_jax.cli import main as cli
from sadajem_jax.console.launch import Launch
from tests import models, places

# Starts as main.py does, compiles one small program, and says where and how often it was compiled.
START = """
import json, sys
from sadajem_jax.cli import main
import jax

config = main.config_files.load("configs/digits.py")
config.keep_compiled = sys.argv[1] == "keep"
main.make_ready(config)
heard = []
jax.monitoring.register_event_listener(lambda event, **_: heard.append(event))
jax.jit(lambda x: x * 3 + 1)(2.0).block_until_ready()
hits = sum(event == "/jax/compilation_cache/cache_hits" for event in heard)
print(json.dumps([jax.config.jax_compilation_cache_dir, hits]))
"""
JAXS = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES")  # fmt: skip


def start(folder: pathlib.Path, how: str = "keep", **given: str) -> tuple[str | None, int]:
    """(where programs are kept, how many were found there) in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k not in JAXS}
    done = subprocess.run(
        [sys.executable, "-c", START, how],
        cwd=places.ROOT,
        env=environment | {"SADAJEM_CACHE_DIR": str(folder), **given},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    where, hits = json.loads(done.stdout)
    return where, hits


def test_the_second_start_compiles_nothing(tmp_path: pathlib.Path) -> None:
    """Even a small program is found again, in the folder of this machine and version."""
    where, hits = start(tmp_path)
    assert where is not None and pathlib.Path(where).is_relative_to(tmp_path / "compiled")
    assert hits == 0 and start(tmp_path)[1] > 0


def test_the_user_says_where(tmp_path: pathlib.Path) -> None:
    """JAX_COMPILATION_CACHE_DIR stays, and keep_compiled=False or JAX's own switch keep nothing."""
    mine = str(tmp_path / "mine")
    assert start(tmp_path, JAX_COMPILATION_CACHE_DIR=mine)[0] == mine
    assert start(tmp_path, "not")[0] is None
    assert start(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false")[0] is None
    assert not (tmp_path / "compiled").exists()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("flags : avx\nprocessor : 0", "processor : 1\nflags : avx\nflags : avx", True),
        ("flags : avx", "flags : avx avx512f", False),
        ("model name : A\nflags : avx", "model name : B\nflags : avx", False),
    ],
)
def test_a_cpu_that_knows_other_instructions_has_its_own_folder(
    first: str, second: str, same: bool, tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    """Homes are shared: the name of the folder tells the kinds of CPU apart, and nothing else."""
    found = []
    for name, text in (("one", first), ("two", second)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(compiled, "CPU_INFO", tmp_path / name)
        found.append(compiled.folder())
    assert (found[0] == found[1]) == same


def test_several_processes_keep_nothing(monkeypatch: Any) -> None:
    """Where a launch of several is described no folder is set; a process by itself keeps."""
    kept: list[str] = []
    monkeypatch.setattr(compiled, "keep", lambda: kept.append("kept"))
    cli.make_ready(models.settings(), Launch("slurm", processes=2, number=1))
    assert not kept
    cli.make_ready(models.settings())
    assert kept
