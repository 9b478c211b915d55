"""The shipped configs: each can be run, and the main one has the paper's settings."""

from __future__ import annotations

import pathlib

import pytest

from sadajem_jax.cli import config, rules
from sadajem_jax.workdir.settings import flat

# The paper's Table 7 and section 5, and the released program's defaults where it is silent.
PAPER = {
    "model.depth": 28,
    "model.width": 10,
    "model.norm": "batch",
    "sgld.num_steps": 10,
    "sgld.step_size": 1.0,
    "sgld.noise_std": 0.0,
    "sgld.grad_clip": 1.0,
    "sgld.init": "informative",
    "buffer.size": 10_000,
    "buffer.reinit_prob": 0.05,
    "sam.rho": 0.2,
    "sam.adaptive": False,
    "train.num_epochs": 200,
    "train.batch_size_px": 64,
    "train.batch_size_label": 128,
    "train.learning_rate": 0.1,
    "train.schedule": "cosine",
    "train.momentum": 0.9,
    "train.weight_decay": 5e-4,
    "data.val_size": 0,
}


@pytest.mark.parametrize("name", config.shipped())
def test_shipped_configs_pass_the_rules(name: str) -> None:
    """Every config that comes with the program can be run as it is."""
    rules.check(config.load(name))


def test_cifar10_has_the_paper_s_settings() -> None:
    """The main config is the paper's K = 10 run, SAM with rho = 0.2 and not the released ASAM."""
    fields = flat(config.load("configs/cifar10.py").to_dict())
    assert {name: fields[name] for name in PAPER} == PAPER


def test_cifar100_differs_in_rate_and_schedule_only() -> None:
    """CIFAR-100 has a tenth of the rate and steps, and the evaluation's own sets."""
    one, other = (flat(config.load(f"configs/{n}.py").to_dict()) for n in ("cifar10", "cifar100"))
    differ = {name for name in one if one[name] != other[name]}
    assert differ == {"data.name", "train.learning_rate", "train.schedule", "eval.ood"}
    assert (other["train.learning_rate"], other["train.schedule"]) == (0.01, "steps")


def test_house_numbers_are_not_mirrored() -> None:
    """SVHN's config differs in the mirroring and the evaluation's own sets."""
    one, other = (
        flat(config.load(f"configs/{n}.py").to_dict()) for n in ("cifar10", "svhn_cropped")
    )
    differ = {name for name in one if one[name] != other[name]}
    assert differ == {"data.name", "data.flip", "eval.ood"} and not other["data.flip"]


def test_a_config_finds_its_neighbours_first(tmp_path: pathlib.Path) -> None:
    """A copied folder of configs builds on its own files, and on the shipped ones it lacks."""
    (tmp_path / "mine.py").write_text("from configs.theirs import get_config\n")
    body = "def get_config():\n    c = cifar100.get_config()\n    c.seed = 7\n    return c\n"
    (tmp_path / "theirs.py").write_text("from configs import cifar100\n\n" + body)
    made = config.load(str(tmp_path / "mine.py"))
    assert (made.data.name, made.seed) == ("cifar100", 7)
