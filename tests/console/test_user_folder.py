"""The user's cache folder."""

from __future__ import annotations

import pathlib

import pytest

from sadajem_jax.console import user_folder


def test_the_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours if SADAJEM_CACHE_DIR names it, else below XDG_CACHE_HOME, else below ~/.cache."""
    monkeypatch.setenv("HOME", "/home/a")
    monkeypatch.delenv("SADAJEM_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert user_folder.cache() == pathlib.Path("/home/a/.cache/sadajem_jax")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert user_folder.cache() == pathlib.Path("/cache/sadajem_jax")
    monkeypatch.setenv("SADAJEM_CACHE_DIR", "/mine")
    assert user_folder.cache() == pathlib.Path("/mine")
