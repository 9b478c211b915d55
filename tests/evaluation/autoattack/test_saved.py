"""A killed attack goes on where it was, from its own file and no other."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from sadajem_jax.evaluation import autoattack
from sadajem_jax.evaluation.autoattack import campaign
from sadajem_jax.evaluation.autoattack.campaign import Name
from sadajem_jax.evaluation.autoattack.driver import Result
from tests.evaluation.autoattack import networks
from tests.evaluation.autoattack.test_driver import only, problem

Told = list[tuple[str, float, int]]


class Killed(Exception):
    """What ends an attack half-way."""


def attack(path: pathlib.Path | None, die_at: str = "", **options: Any) -> tuple[Result, Told]:
    """APGD and FAB on a linear classifier; killed at the second portion of a pass, if asked."""
    variables, images, labels = problem(12, classes=5)
    told: Told = []

    def hear(name: str, done: float, total: int) -> None:
        told.append((name, done, total))
        if name == die_at and done > 3:
            raise Killed

    given: dict[str, Any] = {"variables": variables, "images": images, "labels": labels}
    given |= {"norm": "l_inf", "eps": 0.02, "batch_size": 3, **options}
    return autoattack.run(networks.linear, checkpoint=path, progress=hear, **given), told


@pytest.fixture(autouse=True)
def without_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out what takes long, and saves after every portion."""
    only(monkeypatch, Name.APGD_CE, Name.FAB_T)
    monkeypatch.setattr(campaign, "SAVE_SECONDS", 0)


def assert_same(one: Result, other: Result) -> None:
    """Everything but the rounding of images."""
    np.testing.assert_array_equal(one.verdicts, other.verdicts)
    np.testing.assert_allclose(one.adversarial, other.adversarial, atol=1e-6)
    assert one[:3] == other[:3] and one.warnings == other.warnings


def killed(path: pathlib.Path, die_at: str, **options: Any) -> None:
    """An attack that left its file."""
    with pytest.raises(Killed):
        attack(path, die_at, **options)


def test_a_killed_attack_ends_as_an_unbroken_one(tmp_path: pathlib.Path) -> None:
    """Killed twice, in the first attack and in a target of the third, all is the same.

    What was finished is not done again: neither passes, nor images within the pass.
    """
    whole, all_told = attack(None)
    path = tmp_path / "deep" / "kept.npz"
    killed(path, "apgd-ce")
    killed(path, "fab-t 2/4")
    result, told = attack(path)
    assert_same(result, whole)
    assert list(dict.fromkeys(name for name, _, _ in told)) == [
        "fab-t 2/4",
        "fab-t 3/4",
        "fab-t 4/4",
    ]
    (left,) = {total for name, _, total in told if name == "fab-t 2/4"}
    (of_all,) = {total for name, _, total in all_told if name == "fab-t 2/4"}
    tried = 3 - (of_all - left)  # of the three of the first portion those that stood
    assert 0 < tried < min(done for name, done, _ in told if name == "fab-t 2/4") <= tried + 1
    again, nothing = attack(path)
    assert_same(again, whole)
    assert nothing == []


def test_another_attack_begins_anew(tmp_path: pathlib.Path) -> None:
    """A file of another seed, size, norm, search, image, label or network is not gone on with.

    Each would otherwise pass over the first attack, in which it is to be killed.
    """
    path = tmp_path / "kept.npz"
    killed(path, "fab-t 2/4")
    kept = path.read_bytes()
    variables, images, labels = problem(12, classes=5)
    others: list[dict[str, Any]] = [
        {"seed": 1},
        {"eps": 0.03},
        {"norm": "l_2"},
        {"search_fn": networks.linear},
        {"images": images[::-1].copy()},
        {"labels": np.roll(labels, 1)},
        {"variables": {**variables, "b": variables["b"] + 1}},
    ]
    for other in others:
        path.write_bytes(kept)
        killed(path, "apgd-ce", **other)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_another_file_is_refused(tmp_path: pathlib.Path, content: bytes) -> None:
    """What is no saved attack is named in one line, and left as it was."""
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine.npz: expected the saved state of an attack") as e:
        attack(path)
    assert "\n" not in str(e.value) and path.read_bytes() == content
    np.savez(path, images=np.zeros(3))
    with pytest.raises(ValueError, match="expected the saved state of an attack"):
        attack(path)
