"""Our training step beside PyTorch's, in one process, as one JSON line on stdout.

    python -m benchmarks.peers --depth 10 --width 1 --batch_size_px 32 --batch_size_label 64

Both frameworks use every core (or the one GPU) and take turns, one step each a round. `--forms` are
PyTorch's: eager, as released; channels_last; compiled, which is channels_last and torch.compile.
Fields: the settings; `ours_seconds` and each form's (`eager_seconds`; medians) with their `_min`,
`_q1`, `_q3`, `_max`; `ratio_eager` and so on, their median over ours (above 1, ours is faster), and
the same of the minima as `_of_min`; `load_average` of the minute before; threads, versions, device,
date. PyTorch is an optional extra: without it, or without its CUDA beside a GPU, exit status 69.

Run it on an idle machine. PyTorch's threads wait for each other after every operation, so a busy
core slows it several times more than it slows ours: with a load the ratios flatter us.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

# jax would else take most of a GPU's memory at its start and leave PyTorch too little.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax

from benchmarks import flags, jax_step, timing
from sadajem_jax import backend
from sadajem_jax.console import command
from sadajem_jax.console.errors import Lacking


def cores() -> int:
    """The CPU cores this process may use: what jax's thread pool takes."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


FORMS: dict[str, dict[str, Any]] = {
    "eager": {},
    "channels_last": {"channels_last": True},
    "compiled": {"channels_last": True, "compiled": True},
}


def torch_steps(
    settings: dict, forms: Sequence[str]
) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """PyTorch's forms of the step on jax's kind of device, and PyTorch's settings.

    Raises:
      Lacking: torch is not installed, or does not reach the accelerator that jax is on.
    """
    require_torch()
    import torch

    from benchmarks import torch_step

    device = "cpu" if backend.on_cpu() else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        raise Lacking(
            f"jax runs on {jax.default_backend()}, but this PyTorch sees no CUDA device: install "
            f"its build for CUDA"
        )
    torch.set_num_threads(cores())
    steps = {form: torch_step.build(**settings, **FORMS[form], device=device) for form in forms}
    return steps, {"torch_version": torch.__version__, "threads": torch.get_num_threads()}


def require_torch() -> None:
    """Raises Lacking where PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise Lacking("benchmarks.peers needs PyTorch, which is not installed: pip install torch")


def compare(settings: dict, rounds: int, forms: Sequence[str]) -> dict:
    """Times our step and theirs; `settings` are the keyword arguments of every `build`."""
    load = os.getloadavg()[0]
    peers, about = torch_steps(settings, forms)
    if load > 0.25 * cores():
        print(f"warning: load average {load:.1f}: the ratios will flatter us", file=sys.stderr)
    ours, _, _ = jax_step.build(**settings)
    seconds = timing.interleave({"ours": ours} | peers, rounds, warmup=2)
    result: dict[str, Any] = {}
    for name, values in seconds.items():
        result |= timing.spread(f"{name}_seconds", values)
    for name in peers:
        for end in ("", "_min"):
            ratio = result[f"{name}_seconds{end}"] / result[f"ours_seconds{end}"]
            result[f"ratio_{name}{end and '_of_min'}"] = ratio
    return result | about | {"load_average": load}


def main(argv: Sequence[str]) -> int:
    """Prints the one line; returns 0."""
    parser = flags.step_parser(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="timed repetitions")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["eager", "channels_last"])
    settings = vars(parser.parse_args(argv))
    rounds, forms = settings.pop("rounds"), settings.pop("forms")
    result = compare(settings, rounds, forms)
    print(json.dumps(settings | {"rounds": rounds} | result | timing.environment()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main, sys.argv[1:]))
