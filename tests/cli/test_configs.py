"""The shipped configs: each can be run, and the main one has the paper's settings."""

from __future__ import annotations

import pytest

from sadajem_jax.cli import config
from sadajem_jax.cli import rules as config_rules

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
    config_rules.check(config.load(name))


def test_cifar10_has_the_paper_s_settings() -> None:
    """The main config is the paper's K = 10 run, SAM with rho = 0.2 and not the released ASAM."""
    fields = config.flat(config.load("configs/cifar10.py"))
    assert {name: fields[name] for name in PAPER} == PAPER


def test_cifar100_differs_in_rate_and_schedule_only() -> None:
    """CIFAR-100 has a tenth of the rate and steps, and the evaluation's own sets."""
    one, other = (config.flat(config.load(f"configs/{n}.py")) for n in ("cifar10", "cifar100"))
    differ = {name for name in one if one[name] != other[name]}
    assert differ == {"data.name", "train.learning_rate", "train.schedule", "eval.ood"}
    assert (other["train.learning_rate"], other["train.schedule"]) == (0.01, "steps")


def test_json_round_trip_and_older_configs() -> None:
    """A config survives W/config.json; a field that an older run lacks gets its default."""
    made = config.load("configs/digits.py")
    assert config.flat(config.from_json(config.to_json(made))) == config.flat(made)
    with made.unlocked():
        del made.train.ema_decay
    assert config.from_json(config.to_json(made)).train.ema_decay == 0.0
