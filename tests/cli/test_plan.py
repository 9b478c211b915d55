"""The plan of a run: its numbers, and the refusal of what cannot fit."""

from __future__ import annotations

import re
from typing import Any

import pytest

import main
from sadajem_jax.cli import config
from sadajem_jax.console.errors import UserError
from sadajem_jax.evaluation import flops
from sadajem_jax.training import memory, outlook, recipes
from sadajem_jax.training.recipes import Recipe
from sadajem_jax.wide_resnet import WideResNet


def recipe(**fields: Any) -> Recipe:
    """CIFAR-10's with K = 5 in float32; fields by name, a double underscore for the dot."""
    made = config.load("configs/cifar10.py")
    given = {"sgld__num_steps": 5, "model__dtype": "float32"} | fields
    config.override(made, {name.replace("__", "."): str(v) for name, v in given.items()})
    return recipes.of(made)


def test_paper_numbers() -> None:
    """WRN-28-10 has 36.5 M parameters; K = 5 takes 2,176 forwards, 25.9 TFLOP."""
    assert round(memory.parameters(recipe()) / 1e6, 1) == 36.5
    assert outlook.forwards(recipe()) == 2176
    assert round(outlook.step_tflop(recipe()), 1) == 25.9


def test_what_cannot_fit_is_refused_with_what_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the largest batches; those are then let through, twice as large not."""
    monkeypatch.setattr(memory, "device_memory", lambda: 6 * 2**30)
    with pytest.raises(UserError, match="largest batches") as refused:
        memory.check(recipe())
    px, label = map(int, re.findall(r"batch_size_\w+=(\d+)", str(refused.value)))
    memory.check(recipe(train__batch_size_px=px, train__batch_size_label=label))
    with pytest.raises(UserError):
        memory.check(recipe(train__batch_size_px=2 * px, train__batch_size_label=2 * label))


def test_mode_plan_prints_it_all(capsys: Any) -> None:
    """--mode=plan says parameters, operations, memory, length and time, and trains nothing."""
    flags = ["--config.model.width=1", "--config.sgld.num_steps=1", "--config.sam.rho=0"]
    assert main.main(["--config=configs/digits.py", "--mode=plan", *flags]) == 0
    out = capsys.readouterr().out
    for word in ("network: WRN-10-1", "TFLOP", "memory: about", "fits", "length: ", "to the end"):
        assert word in out


def test_plan_for_an_evaluation_says_what_each_part_takes(capsys: Any) -> None:
    """A row a piece with its operations: on the test set those of a forward times its images."""
    flags = [
        "--config.model.width=1",
        "--config.eval.only=accuracy,ood/uniform_noise",
        "--for=eval",
    ]
    assert main.main(["--config=configs/digits.py", "--mode=plan", *flags]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[2:]}
    flop = flops.forward(WideResNet(10, 1, 10), (8, 8, 1)).flop
    assert float(rows["accuracy"][0]) == pytest.approx(297 * flop / 1e12, rel=1e-3)
    assert float(rows["ood/uniform_noise"][0]) == pytest.approx(2 * 297 * flop / 1e12, rel=1e-3)
    assert "all" in rows and not {"samples", "ood/inverted_digits"} & rows.keys()


def test_plan_of_a_preset_on_fewer_images(capsys: Any) -> None:
    """Named sets of purification's settings cost as much as the images that are given with them."""
    flags = ["--config.model.width=1", "--config.eval.only=robustness", "--for=eval"]
    flags += ["--config.eval.purification.preset=hill", "--config.eval.purification.images=2"]
    assert main.main(["--config=configs/digits.py", "--mode=plan", *flags]) == 0
    asked, field = capsys.readouterr().out.split("preset=hill and images=500:")
    row = "robustness/purified/static"
    few, all_there = (float(text.split(row)[1].split()[0]) for text in (asked, field))
    assert all_there == pytest.approx(297 / 2 * few, rel=1e-2)  # there are no 500


def test_for_belongs_to_a_plan_and_has_two_values(capsys: Any) -> None:
    """--for elsewhere, or with another word, is refused in one line."""
    assert main.main(["--config=configs/digits.py", "--for=eval"]) == 2
    assert "--for belongs to --mode=plan" in capsys.readouterr().err
    assert main.main(["--config=configs/digits.py", "--mode=plan", "--for=evall"]) == 2
    assert "did you mean eval?" in capsys.readouterr().err
