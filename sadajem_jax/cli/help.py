"""What --help prints: a screen on modes, flags and configs."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Mapping, Sequence

from sadajem_jax import __version__
from sadajem_jax.cli import config
from sadajem_jax.evaluation import parts

CHECKOUT = config.PACKAGE.parent / "main.py"
EXAMPLES = {
    "--config=configs/digits.py": "a first run, on a laptop",
    "--config=configs/cifar10.py --workdir=runs/c": "train, or go on",
    "--mode=eval --workdir=runs/c": "all evaluations, and a report",
}
PAGE = """\
sadajem-jax: trains, evaluates and samples from sharpness-aware joint energy-based models

{examples}

--mode     train (default), plan (what a run will take; --for=eval: its evaluation), eval, sample,
           systems (JEM, JEM++, softmax and others, which FILE:NAME trains)
--device, --devices   of --mode=plan: a card that need not be there, and how many of them
--config   FILE or FILE:NAME, for train and plan
--workdir  the run's folder; by default runs/NAME of the config
--config.FIELD=VALUE   any field of the config, as --config.sgld.num_steps=5;
           of an existing run eval.* and data.data_dir are free: --config.eval.only=ood;
           parts: {parts}
--source, --n, --out   of --mode=sample: buffer or fresh images, how many, and where to: an .npz
           file (a picture comes beside it) or a folder of PNG files, new in either case
--refine_from, --label, --seed, --num_steps   of its chains: an .npz file or folder that they start
           from, their class (a number, a name or each), seed and length
--coordinator_address, --num_processes, --process_id   of several processes that work as one, where
           no scheduler says so: docs/clusters.md

configs, each explained in its file:
{configs}

Fields and their defaults: configs/cifar10.py. What warnings mean: docs/troubleshooting.md
--version tells this program's.
"""


def asked(argv: Sequence[str]) -> str | None:
    """What is to be printed where a command line asks for no work, else None."""
    if not argv or "--help" in argv or "-h" in argv:
        return text()
    return f"sadajem-jax {__version__}\n" if "--version" in argv else None


def text() -> str:
    """The page."""
    program = "python main.py" if CHECKOUT.is_file() else "python -m sadajem_jax"
    configs = {name: _first_line(name) for name in config.shipped()}
    return PAGE.format(
        examples=_table({f"{program} {flags}": said for flags, said in EXAMPLES.items()}),
        configs=_table(configs),
        parts=", ".join(parts.NAMES),
    )


def _table(lines: Mapping[str, str]) -> str:
    width = max(map(len, lines))
    return "\n".join(f"  {name:{width}}  {said}" for name, said in lines.items())


def _first_line(name: str) -> str:
    """What a config says of itself, read and not executed."""
    path = config.CONFIG_FOLDER / pathlib.Path(name).name
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    return said.partition("\n")[0].partition(": what differs")[0].rstrip(".")
