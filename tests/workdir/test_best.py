"""The best model on held-out images: kept, replaced only by a better one, read where it can be."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from sadajem_jax.console import processes
from sadajem_jax.workdir import best
from sadajem_jax.workdir.best import Best
from sadajem_jax.workdir.checkpoint import Checkpoints


def state(value: float) -> dict[str, Any]:
    """A state that can be told by its value."""
    noise = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    return {"params": {"w": np.full(50, value, np.float32), "noise": noise}}


def value_of(workdir: pathlib.Path) -> float | None:
    """The value of the state that is read as the best."""
    found = best.read(workdir)
    return None if found is None else float(found.state["params"]["w"][0])


def test_only_a_better_one_replaces_it(tmp_path: pathlib.Path) -> None:
    """The highest accuracy stays, whatever comes after; one copy of it is kept."""
    kept = Best(tmp_path, {"restarts": 0})
    for step, accuracy in ((10, 0.5), (20, 0.7), (30, 0.6), (40, 0.7)):
        kept.offer(step, state(step), accuracy)
        assert value_of(tmp_path) == (10 if step == 10 else 20)  # there when `offer` returns
    kept.close()
    assert [p.name for p in (tmp_path / "best").iterdir()] == ["20"]


def test_a_better_one_of_an_earlier_step_is_kept(tmp_path: pathlib.Path) -> None:
    """After going back, a better model of an earlier or the same step is saved, not passed over."""
    kept = Best(tmp_path, {"restarts": 0})
    kept.offer(40, state(1), 0.5)
    kept.offer(20, state(2), 0.6)
    assert value_of(tmp_path) == 2
    kept.offer(20, state(3), 0.7)
    assert value_of(tmp_path) == 3
    kept.close()


def test_a_damaged_best_is_none(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """One flipped byte in the best model is reported, and there is then no best."""
    kept = Best(tmp_path, {"restarts": 0})
    kept.offer(10, state(1), 0.5)
    kept.close()
    largest = max(
        (p for p in (tmp_path / "best").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    assert best.read(tmp_path) is None
    assert "the best model, of step 10, is damaged" in caplog.text


def test_a_damaged_best_outranks_none(tmp_path: pathlib.Path) -> None:
    """A best that cannot be read is removed when a training goes on, and a lower one takes over."""
    kept = Best(tmp_path, {"restarts": 0})
    kept.offer(10, state(1), 0.9)
    kept.close()
    (tmp_path / "best" / "10" / "state" / "manifest.ocdbt").write_bytes(b"")
    again = Best(tmp_path, {"restarts": 0})
    again.offer(20, state(2), 0.5)
    again.close()
    assert value_of(tmp_path) == 2


def test_no_folder_is_no_best(tmp_path: pathlib.Path) -> None:
    """A run that judges none has none, and reading makes no folder."""
    assert best.read(tmp_path) is None and not list(tmp_path.iterdir())


def test_processes_read_the_one_that_the_first_finds(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose listing lags reads the best that the first process sees, no older one."""
    kept = Checkpoints(tmp_path / "best")
    for step, accuracy in ((10, 0.9), (20, 0.5)):
        kept.save(step, state(step), **{best.JUDGE: accuracy})
    kept.close()
    assert value_of(tmp_path) == 10
    monkeypatch.setattr(processes, "is_alone", lambda: False)
    monkeypatch.setattr(best, "of_first", lambda act: 20)
    assert value_of(tmp_path) == 20
