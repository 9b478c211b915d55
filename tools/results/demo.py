"""The demo as a newcomer has it: in an empty clone, nothing installed, nothing compiled before."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time
from typing import Any

from tools.results.said import ROOT

ASK = "import jax, platform; print(platform.python_version(), jax.__version__)"


def run(folder: pathlib.Path) -> dict[str, Any]:
    """Clones the last commit into `folder`/clone, runs `make demo` there, and says what was seen.

    Args:
      folder: an empty one; the clone and its compiled programs stay in it.

    Returns:
      As docs/demo.json: date, hardware, versions, seconds, config, all numbers, what it printed.

    Raises:
      subprocess.CalledProcessError: if anything of it fails.
    """
    clone, started = folder / "clone", time.monotonic()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    _make(clone, ".venv/.installed")
    installed = time.monotonic()
    log = _make(clone, "demo")
    return seen(clone, installed - started, time.monotonic() - started) | {"log": log}


def _make(clone: pathlib.Path, target: str) -> list[str]:
    """Runs a target with a compilation cache of its own, as on a machine that has none.

    Returns:
      The lines that it prints, as they come.
    """
    kept = environment(clone)
    lines, command = [], ["make", target]
    to = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=clone, env=kept, stdout=to, stderr=subprocess.STDOUT, text=True
    ) as made:
        for line in made.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    if made.returncode:
        raise subprocess.CalledProcessError(made.returncode, command)
    return lines


def environment(clone: pathlib.Path) -> dict[str, str]:
    """Of a shell where the clone's environment is active, with a cache of the clone's own."""
    others = ("JAX_", "MAKE", "MFLAGS")  # of this process: `make` in `make` tells where it is
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    path = f"{clone / '.venv' / 'bin'}{os.pathsep}{kept['PATH']}"
    return kept | {"SADAJEM_CACHE_DIR": str(clone.parent / "cache"), "PATH": path}


def seen(clone: pathlib.Path, installing: float, everything: float) -> dict[str, Any]:
    """What a finished demo left, and how long it took in seconds."""
    workdir = clone / "runs" / "demo"
    metrics, pieces, config = (
        json.loads((workdir / name).read_text())
        for name in ("metrics.json", "evaluation.json", "config.json")
    )
    took = {name: piece["seconds"] for name, piece in pieces.items() if "seconds" in piece}
    images = metrics["train/steps"] * config["train"]["batch_size_label"]
    python, jax = subprocess.check_output(
        [clone / ".venv/bin/python", "-c", ASK], text=True
    ).split()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "hardware": pieces["accuracy"]["hardware"],
        "python": python,
        "jax": jax,
        "seconds": {
            "all": round(everything),
            "installing": round(installing),
            "training": round(images / metrics["train/images_per_second"]),
            "evaluating": round(sum(took.values())),
        },
        "pieces": {name: round(seconds, 1) for name, seconds in took.items()},
        "config": config,
        "metrics": metrics,
    }
