"""A training of days on a CPU is told before it begins."""

from __future__ import annotations

from typing import Any

import pytest

from sadajem_jax import backend
from sadajem_jax.training import outlook
from tests.cli.test_plan import recipe


@pytest.mark.parametrize(
    ("steps", "is_cpu", "said"),
    [
        (1, True, ""),
        (300_000, True, "about a day here"),  # 0.0426 TFLOP each, at 0.144 TFLOP/s
        (2_900_000, True, "about 10 days here"),
        (2_900_000, False, ""),
    ],
)
def test_days_are_said(
    steps: int, is_cpu: bool, said: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line of what it takes, by its operations and the machine's rate, and what to take instead;
    a GPU, and what takes hours, have none.
    """
    monkeypatch.setattr(backend, "on_cpu", lambda: is_cpu)
    monkeypatch.setattr(outlook, "matrix_tflops", lambda: 0.4)
    fields = {"train__batch_size_px": 32, "train__batch_size_label": 64}
    small = recipe(model__depth=10, model__width=1, **fields)
    outlook.tell(small, steps)
    out = capsys.readouterr().out
    assert (said in out and "configs/digits.py is for a laptop" in out) if said else not out
    assert all(len(line) <= 100 for line in out.splitlines())


def test_a_machine_s_rate_is_measured() -> None:
    """Some GFLOP/s at least, of any machine that this runs on, and below a whole card's."""
    assert 1e-3 < outlook.matrix_tflops() < 100
