"""README's examples run as they stand."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
import pytest

from tests import models, places

BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (places.ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
)


def block(word: str) -> str:
    """The one example with this word in it."""
    (found,) = [code for code in BLOCKS if word in code]
    return found


def test_a_trained_model_is_used_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line of it, on a run of the digits in runs/demo; x is the first of its images."""
    models.make_run(tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block("sadajem_jax.load"), names)
    assert names["x"].shape == (8, 8, 8, 1) and names["x"].dtype == np.uint8


def test_sam_is_used_so() -> None:
    """Every line of it, and the parameters go down the slope."""
    names: dict[str, Any] = {}
    exec(block("sam(rho=0.05)"), names)
    assert np.all(np.asarray(names["params"]) < 0.9)
