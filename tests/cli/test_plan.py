"""The plan of a run: its numbers, and the refusal of what cannot fit."""

from __future__ import annotations

import re
from typing import Any

import pytest

import main
from sadajem_jax.cli import config, plan
from sadajem_jax.console.errors import UserError


def test_paper_numbers() -> None:
    """WRN-28-10 has 36.5 M parameters; K = 5 takes 2,176 forwards, 25.9 TFLOP."""
    settings = config.load("configs/cifar10.py")
    config.override(settings, {"sgld.num_steps": "5"})
    assert round(plan.parameters(settings) / 1e6, 1) == 36.5
    assert plan.forwards(settings) == 2176
    assert round(plan.step_tflop(settings), 1) == 25.9


def test_what_cannot_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the largest batches; those are then let through, twice as large not."""
    settings = config.load("configs/cifar10.py")
    monkeypatch.setattr(plan, "device_memory", lambda: 6 * 2**30)
    with pytest.raises(UserError, match="largest batches") as refused:
        plan.check_memory(settings)
    px, label = map(int, re.findall(r"batch_size_\w+=(\d+)", str(refused.value)))
    config.override(settings, {"train.batch_size_px": str(px)})
    config.override(settings, {"train.batch_size_label": str(label)})
    plan.check_memory(settings)
    config.override(settings, {"train.batch_size_px": str(2 * px)})
    config.override(settings, {"train.batch_size_label": str(2 * label)})
    with pytest.raises(UserError):
        plan.check_memory(settings)


def test_mode_plan_prints_it_all(capsys: Any) -> None:
    """--mode=plan says parameters, operations, memory, length and time, and trains nothing."""
    flags = ["--config.model.width=1", "--config.sgld.num_steps=1"]
    assert main.main(["--config=configs/digits.py", "--mode=plan", *flags]) == 0
    out = capsys.readouterr().out
    for word in ("network: WRN-10-1", "TFLOP", "memory: about", "fits", "length: ", "to the end"):
        assert word in out
