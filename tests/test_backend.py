"""The one switch for the form of a program."""

from __future__ import annotations

import pathlib

import jax
import pytest

from sadajem_jax import backend

PACKAGE = pathlib.Path(backend.__file__).parent


@pytest.mark.parametrize("name", ["cpu", "gpu", "tpu"])
def test_programs_are_unrolled_on_the_cpu_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Programs are unrolled where jax runs on the CPU, and looped on any other backend."""
    monkeypatch.setattr(jax, "default_backend", lambda: name)
    assert backend.unrolls() == backend.on_cpu() == (name == "cpu")


def test_nobody_else_asks() -> None:
    """No other file of the package asks jax for the name of its backend."""
    asking = {p.name for p in PACKAGE.rglob("*.py") if "default_backend" in p.read_text()}
    assert asking == {"backend.py"}
