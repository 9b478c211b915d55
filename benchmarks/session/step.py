"""A training step timed, beside what was predicted of it, as one JSON line.

    python -m benchmarks.session.step --depth 28 --width 10 --dtype bfloat16 --target h100

Fields: the settings; `block_step_seconds`, a step of a block as training runs it, and
`single_step_seconds`, of a block of one (medians, with `_min`, `_q1`, `_q3`, `_max`);
`compile_seconds` (of a fresh cache); `predicted`: of the very program that was timed, from its
kernels, and `estimated`: from the shapes alone, both for the target; `memory`: XLA's count, the
plan's estimate and the device's peak; `step_tflop` and the rate; device kind, versions, date.
"""

from __future__ import annotations

import json
import pathlib
import time
from typing import Any

import jax

from benchmarks import flags, gpu_program, jax_step, step_time, timing
from benchmarks.jax_step import Stepper
from sadajem_jax import backend
from sadajem_jax.gpu_program import estimate, program, seen, targets
from sadajem_jax.gpu_program.absent import Compiled
from sadajem_jax.training import memory

BLOCK = 16  # steps, a quarter of a feed


def main() -> None:
    """Prints the line."""
    parser = flags.step_parser(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--target", choices=targets.names(), default="h100")
    parser.add_argument("--hlo", default="", metavar="FILE", help="keeps the program's text")
    settings = vars(parser.parse_args())
    rounds, target, hlo = (settings.pop(name) for name in ("rounds", "target", "hlo"))
    step, seconds, sizes = jax_step.build(**settings)
    if hlo:
        pathlib.Path(hlo).write_text(step.program.as_text() or "")
    found = measured(step, settings, rounds) | {"compile_seconds": seconds, "target": target}
    found["memory"] = bytes_of(settings, sizes)
    print(json.dumps(found), flush=True)  # what was timed stays, if its program cannot be read
    print(json.dumps(found | predictions(step, settings, target)), flush=True)


def measured(step: Stepper, settings: dict, rounds: int) -> dict[str, Any]:
    """The settings, the step's times and rate, and on what."""
    found = {**settings, "rounds": rounds, **timed(step, rounds), **timing.environment()}
    tflop = step_time.step_tflop(**settings)
    return found | {
        "step_tflop": tflop,
        "tflop_per_second": tflop / found["block_step_seconds"],
    }


def timed(step: Stepper, rounds: int) -> dict[str, Any]:
    """Seconds of a step in a block, and of a block of one."""
    blocks = [_of_block(step, BLOCK if rounds > 2 else 2) for _ in range(rounds + 1)][1:]
    singles = [_of_block(step, 1) for _ in range(rounds)]
    found = timing.spread("block_step_seconds", blocks)
    return found | timing.spread("single_step_seconds", singles)


def _of_block(step: Stepper, most: int) -> float:
    start = time.perf_counter()
    count = step.block(most)
    return (time.perf_counter() - start) / count


def predictions(step: Stepper, settings: dict, target: str) -> dict[str, Any]:
    """What the roofline says of the program that was timed, and the estimate of any."""
    card, recipe = targets.load(target), gpu_program.recipe_of(settings)
    made = program.in_gpu_form(recipe)
    found: dict[str, Any] = {"estimated": estimate.seconds(made, card)._asdict()}
    if backend.unrolls():  # the CPU's program: no GPU's kernels in it
        return found | {"predicted": None}
    text = step.program.as_text() or ""
    compiled = Compiled(text, argument_bytes=0, temp_bytes=0, output_bytes=0)
    line = seen.line(compiled, card, settings["num_sgld_steps"])
    return found | {"predicted": {k: v for k, v in line.items() if not k.endswith("_bytes")}}


def bytes_of(settings: dict, sizes: Any) -> dict[str, int | None]:
    """Of a step: XLA's count, the plan's estimate, the most that the device had in use so far."""
    made = gpu_program.recipe_of(settings)
    made = made._replace(spec=made.spec._replace(num_train=jax_step.NUM_IMAGES))
    in_form = made if backend.unrolls() else program.in_gpu_form(made)
    stats = jax.local_devices()[0].memory_stats() or {}
    return {
        "by_xla": step_time.peak_bytes_of_program(sizes),
        "estimate": memory.estimate(in_form).total,
        "peak": stats.get("peak_bytes_in_use"),
    }


if __name__ == "__main__":
    main()
