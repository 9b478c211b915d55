"""What README.md, RESULTS.md and docs/first_hour.md say of the demo, from docs/demo.json alone.

Each text stands between two marks, so that it can be written again and held to the numbers.
"""

from __future__ import annotations

import json
import pathlib
import textwrap
from collections.abc import Iterator
from typing import Any

from sadajem_jax.console.words import duration

ROOT = pathlib.Path(__file__).parents[2]
NUMBERS = ROOT / "docs" / "demo.json"
START, END = "<!-- demo: written by make results -->\n", "<!-- end of demo -->"

README = """\
The demo takes {all} on {hardware} (in an empty clone, installation and report included; packages
from a near mirror, {versions}) and reaches {accuracy:.1%} on the 297 held-out digits; the last
lines it prints say where the numbers, the pictures and the report are."""

RESULTS = """\
`make demo` in an empty clone, nothing compiled before, {hardware}, {versions}: **{all}**,
which is {after} after {installing} of installation (packages from a near mirror); {training} are
training steps ({steps} of WRN-{depth}-{width}, K = {num_sgld_steps}), {evaluating} evaluation.
Test accuracy **{accuracy:.2%}**, nll {nll:.3f} nats on the 297 held-out digits."""


def numbers() -> dict[str, Any]:
    """What the last `make results` saw, see `demo.seen`."""
    return json.loads(NUMBERS.read_text())


def readme(seen: dict[str, Any]) -> str:
    """The paragraph of README.md."""
    return _paragraph(README, seen)


def results(seen: dict[str, Any]) -> str:
    """The paragraph and the table of RESULTS.md."""
    table = "".join(f"| {what} | {value} | {took} |\n" for what, value, took in _rows(seen))
    return f"{_paragraph(RESULTS, seen)}\n| | | seconds |\n|---|---|---|\n{table}"


def first_hour(seen: dict[str, Any]) -> str:
    """The log of docs/first_hour.md."""
    return "\n".join(["```", "$ make demo", *seen["log"], "```", ""])


def _paragraph(template: str, seen: dict[str, Any]) -> str:
    config, found = seen["config"], seen["metrics"]
    text = template.format(
        **{name: duration(seconds) for name, seconds in seen["seconds"].items()},
        after=duration(seen["seconds"]["all"] - seen["seconds"]["installing"]),
        versions=f"Python {seen['python']}, jax {seen['jax']}, {seen['date']}",
        hardware=seen["hardware"],
        steps=found["train/steps"],
        accuracy=found["test/accuracy"],
        nll=found["test/nll"],
        num_sgld_steps=config["sgld"]["num_steps"],
        depth=config["model"]["depth"],
        width=config["model"]["width"],
    )
    return textwrap.fill(text, 108, break_on_hyphens=False) + "\n"


def _rows(seen: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(what, its values, the seconds of the pieces behind them)."""
    found, images = seen["metrics"], seen["config"]["eval"]["attack_images"]

    def took(*pieces: str) -> str:
        return "; ".join(f"{seen['pieces'][piece]:.0f}" for piece in pieces)

    chance = found["calibration/ece_by_chance"]
    value = f"{found['calibration/ece']:.3f}"
    yield f"ECE, 20 bins (by chance: {chance:.3f})", value, took("calibration")
    for name in seen["config"]["eval"]["ood"].split(","):
        value = f"{found[f'ood/{name}/log_density/auroc']:.3f}"
        yield f"AUROC of log p(x): {name.replace('_', ' ')}", value, took(f"ood/{name}")
    value = f"{found['samples/conditional_accuracy']:.0%}"
    yield "new images of a class that the model classifies so", value, took("samples")
    for norm, ball in (("l_inf", "eps_8"), ("l_2", "radius_0.5")):
        stand = round(found[f"robustness/{norm}/{ball}/accuracy"] * images)
        what = f"PGD, {norm}, {ball.replace('_', ' ').replace('eps 8', '8/255')}"
        yield what, f"{stand} of {images} stand", took(f"robustness/{norm}")
    size = seen["config"]["eval"]["landscape"]["images"]
    seconds = took("landscape/lines", "landscape/plane")
    yield f"landscape of {size} images: lines; plane", "drawn", seconds


def between_marks(text: str, said: str) -> str:
    """`text` with what stands between the marks replaced.

    Raises:
      ValueError: if they are not there once.
    """
    if text.count(START) != 1 or text.count(END) != 1:
        raise ValueError(f"expected {START.strip()!r} and {END!r} once each")
    before, _, rest = text.partition(START)
    return before + START + said + END + rest.partition(END)[2]


TEXTS = {"README.md": readme, "RESULTS.md": results, "docs/first_hour.md": first_hour}
