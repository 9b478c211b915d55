"""The trainer's block for a card that is not there: its shapes, and the compiler itself."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import jax
import pytest

from benchmarks import gpu_program
from sadajem_jax.console import command
from sadajem_jax.console.errors import UserError
from sadajem_jax.gpu_program import absent, program
from sadajem_jax.training import experiment
from tests import places
from tests.gpu_program import stored

FLAGS = [f"--{name}={value}" for name, value in stored.SETTINGS.items()]
SETTINGS: dict[str, Any] = stored.SETTINGS | {"image_size": 32, "rho": 0.2}


def test_the_shapes_are_those_of_a_run() -> None:
    """State, feed and key have the shapes and types that a run on real images has."""
    recipe = gpu_program.recipe_of(SETTINGS)
    run = experiment.build(recipe, program.black(recipe.spec, 50))
    feed, _ = run.feeder.feed(0)
    _, found = program.of(recipe)
    real = jax.eval_shape(lambda *each: each, feed, run.key, run.data.images[:0])
    assert (found.feed, found.key) == real[:2]
    assert found.data.images.dtype == real[2].dtype and len(found.data.labels.shape) == 1
    assert found.data.images.shape == (50_000, 32, 32, 3)
    assert found.state.buffer.shape == (10_000, 32, 32, 3)


def test_the_form_is_the_gpu_s_wherever_it_is_made() -> None:
    """On the CPU too the chain of the step is a loop: its program holds one of K = 2 trips."""
    recipe = gpu_program.recipe_of(SETTINGS)
    step, found = program.of(recipe)
    lengths = [e.params["length"] for e in _scans(jax.make_jaxpr(step)(*found[:4]).jaxpr)]
    assert 2 in lengths
    assert program.in_gpu_form(recipe).constants.unroll is False


def _scans(jaxpr: Any) -> list[Any]:
    return [e for e in jaxpr.eqns if e.primitive.name == "scan" and e.params["unroll"] == 1]


def test_missing_cuda_packages_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on stdout, an exit status of its own, and what to install on stderr."""
    monkeypatch.setattr(absent, "is_installed", lambda: False)
    assert command.run(gpu_program.main, FLAGS) == command.LACKING
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert "pip install -r requirements-cuda.txt" in printed.err


@pytest.mark.parametrize("devices, words", [(3, "multiples of the 3 devices"), (16, "16 devices")])
def test_batches_must_divide(devices: int, words: str) -> None:
    """Every card takes equal parts of both batches; of 8 images 16 cards cannot."""
    with pytest.raises(UserError, match=words):
        absent.shared(gpu_program.recipe_of(SETTINGS), devices)


def counted(*flags: str) -> dict[str, Any]:
    """What the command prints of an H100."""
    argv = [sys.executable, "-m", "benchmarks.gpu_program", "--target=h100", *FLAGS, *flags]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(argv, cwd=places.ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.gpu_compiler
@pytest.mark.skipif(not absent.is_installed(), reason="needs requirements-cuda.txt")
def test_eight_cards_send_sums_alone(tmp_path: pathlib.Path) -> None:
    """Eight cards with norm groups of their own: nothing in the chain, then sums, in float32."""
    found = counted("--devices=8", "--norm_groups=8", f"--hlo={tmp_path / 'hlo'}")
    assert found["filter_gradients_in_chain"] == 0
    assert found["collectives"]["in_chain"] == {}
    assert set(found["collectives"]["outside_chain"]) == {"all-reduce"}
    assert 8 * found["convolution_tflop"] == pytest.approx(found["step_tflop"], rel=0.01)
    lines = (tmp_path / "hlo").read_text().splitlines()
    sums = [line for line in lines if re.search(r" all-reduce(-start)?\(", line)]
    assert sums and not any("bf16" in line.partition("(%")[0] for line in sums)


@pytest.mark.gpu_compiler
@pytest.mark.skipif(not absent.is_installed(), reason="needs requirements-cuda.txt")
def test_the_command_compiles_and_counts() -> None:
    """WRN-10-1 for an H100, in a process of its own: bfloat16 throughout, chains without filter
    gradients, the buffer in place.
    """
    found = counted()
    assert set(found["convolutions"]) == {"bf16"} and found["filter_gradients_in_chain"] == 0
    assert found["convolution_tflop"] == pytest.approx(found["step_tflop"], rel=0.01)
    assert 450 < found["kernels_per_step"] < 1200
    assert found["argument_bytes"] == pytest.approx(278e6, rel=0.01)
    assert found["total_bytes"] - found["argument_bytes"] < 40e6  # no second buffer
    assert found["gigabytes_touched_per_step"] < 0.5
    assert found["predicted_step_seconds"] == pytest.approx(
        sum(found["predicted_seconds_of"].values())
    )
