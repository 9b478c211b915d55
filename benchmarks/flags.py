"""The command-line flags that the benchmarks share."""

import argparse
from collections.abc import Sequence

from sadajem_jax.console import xla_flags


def parse(description: str, argv: Sequence[str] | None = None) -> tuple[dict, int]:
    """The settings of a step (keyword arguments of every `build`) and the number of rounds."""
    parser = step_parser(description)
    parser.add_argument("--rounds", type=int, default=5, help="timed repetitions")
    settings = vars(parser.parse_args(argv))
    xla_flags.round_as_written(settings["dtype"])
    return settings, settings.pop("rounds")


def step_parser(description: str) -> argparse.ArgumentParser:
    """Takes the settings of a step; the defaults are the paper's CIFAR-10 run with K = 5."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--depth", type=int, default=28, help="6n + 4")
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--batch_size_px", type=int, default=64, help="unlabelled images a step")
    parser.add_argument("--batch_size_label", type=int, default=128, help="labelled images a step")
    parser.add_argument("--num_sgld_steps", type=int, default=5, help="K")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--image_size", type=int, default=32, help="pixels a side")
    parser.add_argument("--rho", type=float, default=0.2, help="SAM's radius; 0: no second pass")
    return parser
