"""A config in bfloat16 is computed in bfloat16, whatever is done with it."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import pytest

import main
from sadajem_jax.console import xla_flags
from sadajem_jax.evaluation import evaluate
from sadajem_jax.inference import load, sample
from sadajem_jax.training import recipes, train
from sadajem_jax.workdir import settings as run_settings
from tests import models, runs

HANDED_TO = {
    "train": (train, "train"),
    "eval": (evaluate, "evaluate"),
    "sample": (sample, "run"),
}


def asked_of_xla(mode: str, workdir: pathlib.Path, monkeypatch: Any, **fields: Any) -> str:
    """XLA_FLAGS as it stands when a mode hands over to what uses devices."""
    monkeypatch.delenv(xla_flags.VARIABLE, raising=False)
    seen: list[str] = []

    def look(*_: Any, **__: Any) -> int:
        seen.append(os.environ.get(xla_flags.VARIABLE, ""))
        return 0

    monkeypatch.setattr(*HANDED_TO[mode], look)
    monkeypatch.setattr(load, "load", lambda *_, **__: None)
    run_settings.write(workdir, recipes.of(models.settings(**fields)).settings)
    argv = runs.command(workdir, **fields) if mode == "train" else [f"--workdir={workdir}"]
    extra = ["--n=1", f"--out={workdir / 'x.npz'}"] if mode == "sample" else []
    assert main.main([*argv, f"--mode={mode}", *extra]) == 0
    return seen[0]


@pytest.mark.parametrize("mode", HANDED_TO)
def test_xla_is_told_before_devices_are_met(
    mode: str, tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    """Training, evaluation and sampling ask XLA to round to bfloat16; with float32 they do not."""
    half = asked_of_xla(mode, tmp_path / "half", monkeypatch, model__dtype="bfloat16")
    assert xla_flags.ROUND_AS_WRITTEN in half
    assert asked_of_xla(mode, tmp_path / "full", monkeypatch) == ""
