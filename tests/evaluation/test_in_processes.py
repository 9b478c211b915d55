"""An evaluation in two processes, one of which meets what the other one does not."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys

from tests import places

SCRIPT = """
import json, pathlib, sys
import jax
import numpy as np
from sadajem_jax.console import processes
from sadajem_jax.console.errors import UserError
from sadajem_jax.console.launch import Launch
from sadajem_jax.evaluation.costs import Cost, Speeds
from sadajem_jax.evaluation.parts import Piece
from sadajem_jax.evaluation.predictions import Allowance
from sadajem_jax.evaluation.quality.reference import References
from sadajem_jax.evaluation.running import Runner, exit_status
from tests import models
from tests.evaluation.quality import drawn

number, folder = int(sys.argv[2]), pathlib.Path(sys.argv[3])
images = np.random.default_rng(0).integers(0, 256, (40, 2, 2, 3)).astype(np.uint8)
kept = References(folder / f"cache_{number}")  # as of homes that no other machine sees


def fail(errors):
    if number in errors:
        raise errors[number]


def piece(name, early={}, late={}, images_of={}, cost=lambda: Cost(forwards=1)):
    def run(progress):
        fail(early)
        rows = extractor(images, progress)["features"]
        fail(late)
        rows = extractor(images, progress)["features"] + rows
        yield f"{name}/sum", float(rows.sum())

    return Piece(name, {}, run, checksum=lambda: fail(images_of), cost=cost)


def compared(progress):
    yield "compared/sum", float(kept.of(extractor, images, progress).features.sum())


lacking, full = UserError("the weights are missing"), RuntimeError("out of memory")
pieces = [
    piece("accuracy"),
    piece("lacks", images_of={1: lacking}),
    piece("early", early={1: lacking}),
    piece("late", late={1: full}),
    piece("first", late={0: full}),
    piece("both", early={0: lacking, 1: full}),
    piece("times", cost=lambda: fail({0: full})),
    Piece("compared", {}, compared),
    piece("calibration"),
]
with processes.joined(Launch("", sys.argv[1], 2, number)):
    assert processes.of_first(lambda: processes.of_first(lambda: number)) == 0
    extractor = drawn.pixels()
    if number == 0:
        with processes.apart():
            kept.of(extractor, images)
    model, _ = models.bells()
    network, shape = models.TwoLayers(), model.image_shape
    variables = network.init(jax.random.key(0), np.zeros((1, *shape)))
    speeds = Speeds(network, variables, shape, 4)
    runner = Runner(folder, model, force=False, allowance=Allowance((), speeds))
    outcomes = zip(pieces, runner.run(pieces))
    found = {each.name: [outcome.name, exit_status([outcome])] for each, outcome in outcomes}
    (folder / f"{number}.json").write_text(json.dumps(found))
"""


def test_what_one_process_fails_at_is_not_done_and_all_go_on(tmp_path: pathlib.Path) -> None:
    """Wherever one fails (images, weights, memory, a clock), both say so alike, and do the rest.

    What only the first of them does, or one has kept from before, leaves none waiting.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, address, str(number), str(tmp_path)],
            cwd=places.ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    try:
        said = [process.communicate(timeout=120)[1] for process in pair]
    finally:
        for process in pair:
            process.kill()
    assert [process.returncode for process in pair] == [0, 0], said
    one, two = (json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1))
    there, lacking, failed = ["THERE", 0], ["NOT_COMPUTED", 2], ["FAILED", 1]
    assert one == two == {
        "accuracy": there,
        "lacks": lacking,
        "early": lacking,
        "late": failed,
        "first": failed,
        "both": failed,
        "times": failed,
        "compared": there,
        "calibration": there,
    }  # fmt: skip
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["accuracy/sum"] == metrics["calibration/sum"] == 2 * metrics["compared/sum"]
    reasons = json.loads((tmp_path / "evaluation.json").read_text())
    assert "in another process" in reasons["early"]["not_computed"]
    assert "the weights are missing" in said[1] and "out of memory" in said[1]
