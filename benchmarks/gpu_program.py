"""What the compiled step is on a GPU that is not there, as one JSON line on stdout.

    python -m benchmarks.gpu_program --target h100 --depth 28 --width 10 --dtype bfloat16

Needs requirements-cuda.txt (without it: exit status 69), and no GPU. The step is the trainer's, on
CIFAR-10's sizes. Fields: the
settings; the counts of `gpu_program.counts` (launches, bytes, convolutions, messages); `temp_bytes`
and `argument_bytes` of a device, as XLA says; `step_tflop` of all devices, counted from the shapes;
`predicted_step_seconds` of `gpu_program.roofline`, and its parts; `compile_seconds`, versions,
date. `--hlo FILE` keeps the program's text.
"""

import json
import math
import pathlib
import sys
import time
from collections.abc import Sequence

from benchmarks import flags, jax_step, timing
from sadajem_jax.cli import config as config_files
from sadajem_jax.console import command
from sadajem_jax.data.specs import get_spec
from sadajem_jax.gpu_program import absent, seen, targets
from sadajem_jax.training import recipes
from sadajem_jax.training.flops import step_tflop
from sadajem_jax.training.recipes import Recipe


def recipe_of(settings: dict, norm_groups: int = 1, devices: int = 1) -> Recipe:
    """The CIFAR-10 config's recipe with the settings of a step.

    Above the config's strata each device has one of its own, in a buffer rounded up to equal ones.
    """
    fields, size = dict(settings), settings["image_size"]
    del fields["image_size"]
    config = config_files.load("configs/cifar10.py")
    config_files.override(config, jax_step.fields(**fields))
    config.model.norm_groups = norm_groups
    buffer, classes = config.buffer, get_spec(config.data.name).num_classes
    buffer.num_shards = max(buffer.num_shards, devices)
    equal = math.lcm(buffer.num_shards, classes)
    buffer.size = -(-buffer.size // equal) * equal
    recipe = recipes.of(config)
    return recipe._replace(spec=recipe.spec._replace(image_size=size))


def measure(settings: dict, target: str, devices: int, norm_groups: int, hlo: str) -> dict:
    """Compiles the step and counts; `settings` are those of `flags.step_parser`."""
    card, recipe = targets.load(target), recipe_of(settings, norm_groups, devices)
    start = time.perf_counter()
    compiled = absent.compiled(recipe, card, devices)
    seconds = time.perf_counter() - start
    if hlo:
        pathlib.Path(hlo).write_text(compiled.text)
    sizes = {
        k: v for k, v in settings.items() if k not in ("depth", "width", "image_size", "dtype")
    }
    tflop = step_tflop(recipe.network, recipe.spec.image_shape, **sizes)
    found = seen.line(compiled, card, settings["num_sgld_steps"], devices)
    return found | {"step_tflop": tflop, "compile_seconds": seconds}


def main(argv: Sequence[str]) -> int:
    """Prints the one line; returns 0."""
    parser = flags.step_parser(__doc__.splitlines()[0])
    parser.add_argument("--target", choices=targets.names(), default="h100")
    parser.add_argument("--devices", type=int, default=1, help="that share a batch")
    parser.add_argument("--norm_groups", type=int, default=1, help="of each batch")
    parser.add_argument("--hlo", default="", metavar="FILE", help="keeps the program's text")
    settings = vars(parser.parse_args(argv))
    given = {name: settings.pop(name) for name in ("target", "devices", "norm_groups", "hlo")}
    absent.require_installed()
    absent.prepare()
    result = measure(settings, **given)
    del given["hlo"]
    about = {name: timing.environment()[name] for name in ("jax_version", "date")}
    print(json.dumps(given | settings | result | about), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main, sys.argv[1:]))
