"""Kills a training at random moments and checks that nothing is lost: the same bits at the end.

  python -m tools.soak --kills 20 --data_dir FOLDER

A small network on real CIFAR-10, on the CPU. One unbroken run and one that is killed (kill -9)
again and again; both end with the same parameters, statistics, optimizer and buffer, and the log
holds every step once. Prints one JSON line; exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

from sadajem_jax.workdir.checkpoint import Checkpoints

ROOT = pathlib.Path(__file__).parents[1]


def main() -> int:
    """Runs the soak; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--data_dir", default="", help="prepared tensorflow-datasets")
    parser.add_argument("--minutes", type=float, default=30, help="give up after so long")
    args = parser.parse_args()
    deadline = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = pathlib.Path(folder, "whole"), pathlib.Path(folder, "broken")
        subprocess.run(command(args, whole), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        kills = kill_until_done(command(args, broken), args.kills, deadline)
        result = {
            "kills": kills,
            "steps": args.steps,
            "same_bits": same_bits(last_state(whole), last_state(broken)),
            "log_complete": steps_of(broken) == steps_of(whole) == list(range(1, args.steps + 1)),
        }
    print(json.dumps(result))
    return 0 if result["same_bits"] and result["log_complete"] else 1


def command(args: argparse.Namespace, workdir: pathlib.Path) -> list[str]:
    """The same small run, into a folder."""
    fields = {
        "data.data_dir": args.data_dir,
        "train.num_steps": args.steps,
        "model.depth": 10,
        "model.width": 1,
        "sgld.num_steps": 1,
        "buffer.size": 80,
        "train.batch_size_px": 8,
        "train.batch_size_label": 8,
        "checkpoint.every_steps": 13,
        "log.every_steps": 1,
    }
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    return [
        sys.executable,
        "main.py",
        "--config=configs/cifar10.py",
        "--config.model.dtype=float32",
        f"--workdir={workdir}",
        *flags,
    ]


def kill_until_done(argv: list[str], kills: int, deadline: float) -> int:
    """Kills at random moments, `kills` times, then lets the run end; returns their count."""
    rng, done = random.Random(0), 0
    while time.monotonic() < deadline:
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            limit = rng.uniform(1, 25) if done < kills else deadline - time.monotonic()
            process.wait(timeout=max(limit, 1))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
            print(f"kill {done} after {limit:.1f} s", file=sys.stderr, flush=True)
    return done


def last_state(workdir: pathlib.Path) -> object:
    """The last checkpoint's state."""
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    return checkpoints.read(checkpoints.steps()[-1]).state


def same_bits(one: object, other: object) -> bool:
    """Whether two states have the same leaves, bit by bit."""
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in leaves)


def steps_of(workdir: pathlib.Path) -> list[int]:
    """The steps of the training log."""
    lines = (workdir / "train_metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


if __name__ == "__main__":
    sys.exit(main())
