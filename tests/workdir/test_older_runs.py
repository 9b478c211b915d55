"""Folders that earlier versions left: read, verified, gone on with, evaluated."""

from __future__ import annotations

import json
import pathlib
import tarfile

import numpy as np
import pytest

import main
import sadajem_jax
from sadajem_jax.workdir.checkpoint import Checkpoints, Damaged
from tests import runs

pytestmark = pytest.mark.versions

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "run_0_1_0.tar.xz"
# As the run of the fixture was started, by the program before states had a format.
ARGV = {
    "sam__rho": 0.2,
    "sgld__num_steps": 2,
    "train__batch_size_label": 64,
    "train__num_steps": 60,
    "checkpoint__every_steps": 30,
    "log__every_steps": 5,
    "log__samples_every_steps": 60,
    "data__val_size": 100,
    "eval__every_epochs": 1,
}


@pytest.fixture
def older(tmp_path: pathlib.Path) -> pathlib.Path:
    """A run of 60 steps, left after 30 of them, and what the unbroken run then logged."""
    with tarfile.open(FIXTURE) as archive:
        # Python 3.11 has it from its fourth release on.
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path, **safely)  # type: ignore[arg-type]
    return tmp_path


def test_its_checkpoint_is_verified(older: pathlib.Path) -> None:
    """The checksum that the earlier version took is checked: a changed one is refused."""
    folder = older / "run" / "checkpoints"
    found = Checkpoints(folder, read_only=True).read(30)
    assert int(found.state["step"]) == 30 and "settings" not in found.notes
    notes = folder / "30" / "notes" / "metadata"
    notes.write_text(notes.read_text().replace(found.notes["checksum"], "0badc0de"))
    with pytest.raises(Damaged, match="checksum"):
        Checkpoints(folder, read_only=True).read(30)


def test_it_goes_on_as_it_would_have(older: pathlib.Path) -> None:
    """The same command trains the steps left to the losses the earlier version went on to."""
    workdir = older / "run"
    assert main.main(runs.command(workdir, **ARGV)) == 0
    ours, theirs = (
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in (workdir / "train_metrics.jsonl", older / "expected.jsonl")
    )
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for name in ("loss", "cross_entropy", "log_density_gap", "param_norm"):
        np.testing.assert_allclose(
            [line[name] for line in ours], [line[name] for line in theirs], atol=1e-3, err_msg=name
        )
    metrics = json.loads((workdir / "metrics.json").read_text())
    expected = json.loads((older / "expected_metrics.json").read_text())
    assert abs(metrics["test/accuracy"] - expected["test/accuracy"]) < 0.01
    assert expected["best/train/steps"] == 42  # there the last step was not validated; here it is,
    assert metrics["best/train/steps"] == 60  # and is the better one


def test_it_is_evaluated(older: pathlib.Path) -> None:
    """The model and its best are loaded, and an evaluation gives their numbers."""
    workdir = older / "run"
    assert sadajem_jax.load(workdir).step == 30
    assert sadajem_jax.load(workdir, "best").step == 21
    argv = ["--mode=eval", f"--workdir={workdir}", "--config.eval.only=accuracy"]
    assert main.main(argv) == 0
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert metrics["test/accuracy"] == pytest.approx(0.8182, abs=4e-3)  # one image, as it gave
    assert metrics["test/nll"] == pytest.approx(1.1193, abs=1e-3)
