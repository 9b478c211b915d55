"""A short real training with its evaluation and report, as one JSON line.

    python -m benchmarks.session.training --workdir runs/session/training

On CIFAR-10 (WRN-28-10, K = 5, bfloat16) where its prepared data is found, else on the digits.
Fields: `data`, `steps`, `accuracy`, `ece`, `training_seconds` and `evaluation_seconds`, compilation
included; `report`: the page.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]
PARTS = "accuracy,calibration,samples"
CIFAR10 = {"sgld.num_steps": 5, "model.dtype": "bfloat16"}
TINY = {
    "model.width": 1,
    "sgld.num_steps": 1,
    "buffer.size": 40,
    "train.batch_size_px": 8,
    "train.batch_size_label": 8,
}


def main() -> None:
    """Trains, evaluates, prints the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--data_dir", default="", help="prepared tensorflow-datasets")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    data = "digits" if args.small or not is_prepared(args.data_dir) else "cifar10"
    flags = fields(data, args.data_dir, args.steps, is_small=args.small)
    workdir = f"--workdir={args.workdir}"
    training = seconds_of(f"--config=configs/{data}.py", workdir, *flags)
    evaluation = seconds_of("--mode=eval", workdir, f"--config.eval.only={PARTS}")
    found = {"data": data, "steps": args.steps} | numbers(args.workdir)
    found |= {"training_seconds": training, "evaluation_seconds": evaluation}
    page = args.workdir / "report" / "index.html"
    print(json.dumps({**found, "report": str(page)}), flush=True)


def is_prepared(data_dir: str) -> bool:
    """Whether CIFAR-10 lies there."""
    folder = pathlib.Path(data_dir or "~/tensorflow_datasets").expanduser()
    return (folder / "cifar10").is_dir()


def fields(data: str, data_dir: str, steps: int, *, is_small: bool) -> list[str]:
    """The flags of the run."""
    given: dict[str, Any] = {"train.num_steps": steps}
    if data == "cifar10":
        given |= CIFAR10 | ({"data.data_dir": data_dir} if data_dir else {})
    return [f"--config.{k}={v}" for k, v in (given | (TINY if is_small else {})).items()]


def seconds_of(*flags: str) -> float:
    """Runs main.py; what it says goes to the log.

    Raises:
      CalledProcessError: if it does not end well.
    """
    start = time.monotonic()
    subprocess.run([sys.executable, "main.py", *flags], cwd=ROOT, stdout=sys.stderr, check=True)
    return time.monotonic() - start


def numbers(workdir: pathlib.Path) -> dict[str, Any]:
    """Accuracy and calibration error of the test set, as W/metrics.json has them."""
    found = json.loads((workdir / "metrics.json").read_text())
    return {name: found.get(f"test/{name}") for name in ("accuracy", "ece")}


if __name__ == "__main__":
    main()
