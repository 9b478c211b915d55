"""A run's settings: one reader, one truth for the defaults."""

from __future__ import annotations

import json
import pathlib

import pytest

from sadajem_jax.cli import config
from sadajem_jax.console.errors import UserError
from sadajem_jax.workdir import settings
from tools import config_defaults


def test_defaults_are_those_of_the_configs() -> None:
    """defaults.json is what `python -m tools.config_defaults` makes of configs/ now."""
    assert settings.DEFAULTS.read_text() == config_defaults.generate()


def test_settings_survive_the_file(tmp_path: pathlib.Path) -> None:
    """What is written is read again, infinities and all."""
    made = settings.defaults("cifar100") | {"sgld.grad_clip": float("inf"), "seed": 3}
    settings.write(tmp_path, made)
    assert settings.read(tmp_path) == made


def test_fields_that_have_come_since_are_the_data_set_s_own(tmp_path: pathlib.Path) -> None:
    """A digits run that lacks a field gets what configs/digits.py says, not configs/cifar10.py."""
    made = settings.defaults("digits")
    del made["data.pad"], made["train.ema_decay"]
    settings.write(tmp_path, made)
    assert settings.read(tmp_path)["data.pad"] == 1
    assert settings.read(tmp_path)["train.ema_decay"] == 0.0
    assert config.of_settings(settings.read(tmp_path)).data.pad == 1


@pytest.mark.parametrize("text", ["", '{"data": {"name"', "[]", '{"data": 3}', "{}"])
def test_a_damaged_config_is_one_line(tmp_path: pathlib.Path, text: str) -> None:
    """A file that is torn, or is no config, is named in one line with what to do."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json is no config of a run") as refused:
        settings.read(tmp_path)
    assert "\n" not in str(refused.value)


def test_what_defines_a_result_is_compared(tmp_path: pathlib.Path) -> None:
    """Logging, evaluation, places and the number of restarts are free; all else is named."""
    made = settings.defaults("digits")
    free = {"log.every_steps": 7, "eval.only": "ood", "data.data_dir": "x", "deterministic": True}
    assert settings.differences(made, made | free | {"train.max_restarts": 9}) == {}
    assert settings.differences(made, made | {"sam.rho": 0.4}) == {"sam.rho": (0.2, 0.4)}


def test_defaults_need_no_configs_folder() -> None:
    """Every data set has its defaults in the package, in JSON."""
    assert set(json.loads(settings.DEFAULTS.read_text())) == {
        "cifar10",
        "cifar100",
        "svhn_cropped",
        "digits",
    }
