"""Where a step's time goes on the device, kernel by kernel, as one JSON line.

    python -m benchmarks.session.profile --depth 28 --width 10 --dtype bfloat16 --trace FOLDER

Traces a block of two steps with JAX's profiler, whose files stay in FOLDER. Fields: the settings;
`seconds_of`, a step's by what they go into, and of `idle`, where no kernel ran; `predicted`, the
same of the roofline; `slowest`, kernels by name with their seconds a step; device, versions, date.
"""

from __future__ import annotations

import json
import pathlib
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from benchmarks import flags, jax_step, timing
from sadajem_jax import backend
from sadajem_jax.console import command
from sadajem_jax.console.errors import Lacking
from sadajem_jax.gpu_program import hlo, kernels, roofline, targets

STEPS, SHOWN = 2, 12


class Event(NamedTuple):
    """A kernel that ran.

    Attributes:
      name: of its instruction in the program, or of the kernel that the driver saw.
      start: nanoseconds.
      length: nanoseconds.
    """

    name: str
    start: float
    length: float


def main(argv: Sequence[str]) -> int:
    """Prints the line; returns 0."""
    parser = flags.step_parser(__doc__.splitlines()[0])
    parser.add_argument("--target", choices=targets.names(), default="h100")
    parser.add_argument("--trace", type=pathlib.Path, required=True)
    settings = vars(parser.parse_args(argv))
    target, trace = settings.pop("target"), settings.pop("trace")
    if backend.on_cpu():
        raise Lacking("the profile is of a GPU's kernels, and JAX found none")
    step, _, _ = jax_step.build(**settings)
    step.block(STEPS)
    with jax.profiler.trace(str(trace)):
        step.block(STEPS)
    program = hlo.parse(step.program.as_text() or "")
    kind_of = kinds(kernels.of(program))
    found = times(list(events(latest(trace), kind_of)), kind_of)
    found["predicted"] = roofline.of(kernels.of(program), targets.load(target))._asdict()
    print(json.dumps({**settings, **found, "target": target, **timing.environment()}), flush=True)
    return 0


def latest(folder: pathlib.Path) -> pathlib.Path:
    """The newest trace in a folder."""
    return max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)


def events(path: pathlib.Path, known: Collection[str]) -> Iterator[Event]:
    """What ran on the first device.

    Of a CUDA graph the profiler names the graph; the driver's name is then the kernel's own.

    Raises:
      Lacking: where the trace has no device.
    """
    profile: Any = jax.profiler.ProfileData.from_file(str(path))
    planes = [plane for plane in profile.planes if plane.name.startswith("/device:")]
    if not planes:
        raise Lacking("the profiler saw no device: a GPU and CUPTI are needed")
    for line in planes[0].lines:
        if line.name.startswith("Stream"):
            for event in line.events:
                names = map(plain, (dict(event.stats).get("hlo_op", ""), event.name))
                name = next((name for name in names if name in known), plain(event.name))
                yield Event(name, event.start_ns, event.duration_ns)


def plain(name: Any) -> str:
    """A name as XLA gives it to a kernel.

    Examples:
      >>> plain("input_reduce_fusion.207")
      'input_reduce_fusion_207'
    """
    return re.sub(r"[.\-]", "_", str(name))


def kinds(launched: Iterable[kernels.Kernel]) -> dict[str, str]:
    """Kernel, its name made plain -> what it is counted under."""
    return {
        plain(kernel.name): "messages"
        if kernel.collective
        else "convolutions"
        if kernel.convolution
        else "others"
        for kernel in launched
    }


def times(found: list[Event], kind_of: dict[str, str]) -> dict[str, Any]:
    """Seconds a step by kind, and of the slowest kernels.

    Args:
      found: the events of `STEPS` steps.
      kind_of: of the program's kernels; others are "unnamed".
    """
    by_kind: defaultdict[str, float] = defaultdict(float)
    by_name: defaultdict[str, float] = defaultdict(float)
    for event in found:
        by_kind[kind_of.get(event.name, "unnamed")] += event.length / STEPS / 1e9
        by_name[event.name] += event.length / STEPS / 1e9
    span = max(e.start + e.length for e in found) - min(e.start for e in found)
    by_kind["idle"] = span / STEPS / 1e9 - busy(found) / STEPS / 1e9
    slowest = sorted(by_name.items(), key=lambda item: -item[1])[:SHOWN]
    return {"seconds_of": dict(by_kind), "slowest": dict(slowest)}


def busy(found: list[Event]) -> float:
    """Nanoseconds in which at least one kernel ran.

    Examples:
      >>> busy([Event("a", 0, 5), Event("b", 3, 4), Event("c", 10, 1)])
      8.0
    """
    total, end = 0.0, float("-inf")
    for event in sorted(found, key=lambda e: e.start):
        until = event.start + event.length
        total += max(0.0, until - max(end, event.start))
        end = max(end, until)
    return total


if __name__ == "__main__":
    sys.exit(command.run(main, sys.argv[1:]))
