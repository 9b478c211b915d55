"""Every system of the paper as a word: what it sets is what docs/systems.md says, and no more."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import main
from sadajem_jax.cli import config, rules
from sadajem_jax.workdir.settings import flat
from tests import places

PAGE = (places.ROOT / "docs" / "systems.md").read_text()
NAMES = list(config.systems())
# what the digits keep small, whatever the system, and what they never do
SMALL = {"train.batch_size_px", "train.batch_size_label", "data.val_size", "eval.every_epochs"}


def told() -> dict[str, dict[str, Any]]:
    """The fields that docs/systems.md gives each system."""
    found = {}
    for section in re.split(r"^## ", PAGE, flags=re.M)[1:]:
        name, text = section.split("\n", 1)
        lines = re.search(r"```fields\n(.*?)```", text, re.S)
        assert lines, name
        pairs = (line.split(" = ") for line in lines[1].splitlines())
        found[name] = {field: json.loads(value) for field, value in pairs}
    return found


def differences(data: str, name: str) -> dict[str, Any]:
    """What a system sets on a data set, its label left out."""
    plain, made = (flat(config.load(f"configs/{data}.py{n}").to_dict()) for n in ("", f":{name}"))
    assert made["system"] == name and plain["system"] == "sadajem"
    return {f: v for f, v in made.items() if v != plain[f] and f != "system"}


def test_the_page_tells_every_system_there_is() -> None:
    """docs/systems.md has a section and a row of its table for each, in order of the words."""
    assert list(told()) == NAMES
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.M) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_system_differs_in_what_the_page_says(name: str) -> None:
    """On CIFAR-10 the fields that a system changes are those of its section, to the value."""
    assert differences("cifar10", name) == told()[name]


@pytest.mark.parametrize("name", NAMES)
def test_other_data_sets_keep_what_is_theirs(name: str) -> None:
    """CIFAR-100, SVHN and the digits change the same fields to the same values, but for their own.

    SVHN and digits mirror nothing, the digits are padded by a pixel and stay small, and CIFAR-100's
    schedule is by steps from the start.
    """
    given = told()[name]
    unmirrored = {f: v for f, v in given.items() if f != "data.px_flip"}
    of_cifar100 = {f: v for f, v in given.items() if (f, v) != ("train.schedule", "steps")}
    of_digits = {f: v for f, v in unmirrored.items() if f not in SMALL}
    if "data.px_pad" in of_digits:
        of_digits["data.px_pad"] = 1
    if name == "jem_sam":
        of_digits["sgld.num_steps"] = 10  # which it names, and is the default of CIFAR-10 alone
    assert differences("cifar100", name) == of_cifar100
    assert differences("svhn_cropped", name) == unmirrored
    assert differences("digits", name) == of_digits


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "svhn_cropped", "digits"])
def test_every_system_passes_the_rules(data: str) -> None:
    """Each word can be run on each data set that ships."""
    for name in NAMES:
        rules.check(config.load(f"configs/{data}.py:{name}"))


def test_the_list_has_a_line_each(capsys: Any) -> None:
    """--mode=systems prints every word with the first line of its docstring."""
    assert main.main(["--mode=systems"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(NAMES)]] == NAMES
    assert all(len(line.split()) > 3 and len(line) < 120 for line in lines[: len(NAMES)])


def test_the_label_is_no_switch(capsys: Any) -> None:
    """config.system cannot be set beside a config, which would name what was not trained."""
    argv = ["--config=configs/digits.py", "--config.system=jem"]
    assert main.main(argv) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--config=FILE:jem" in error


def test_a_run_before_there_were_words_is_sadajem_s() -> None:
    """The defaults that older runs are filled up with have the default's word in every data set."""
    from sadajem_jax.workdir import settings

    for data in ("cifar10", "cifar100", "svhn_cropped", "digits"):
        assert settings.defaults(data)["system"] == "sadajem"
