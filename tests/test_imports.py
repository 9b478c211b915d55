"""What importing the package brings with it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import sadajem_jax

HEAVY = {"flax", "orbax", "tensorflow_datasets", "tensorflow", "sklearn", "clu", "ml_collections"}


def test_sam_alone_needs_jax_and_optax_only() -> None:
    """`from sadajem_jax import sam` imports no network, checkpoint, data or config library."""
    code = "import json, sys; from sadajem_jax import sam; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = {name.split(".")[0] for name in json.loads(out.stdout)}
    assert {"jax", "optax", "sadajem_jax"} <= modules
    assert not modules & HEAVY


def test_help_is_quick() -> None:
    """The page of --help, and a mistake in a flag, come without JAX or any library on it."""
    code = (
        "import json, sys; from sadajem_jax.__main__ import main; main(['--help']); "
        "main(['--mode=tain']); print(json.dumps(sorted(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = {name.split(".")[0] for name in json.loads(out.stdout.splitlines()[-1])}
    assert "did you mean" in out.stderr
    assert not modules & (HEAVY - {"ml_collections"} | {"jax", "optax", "scipy"})


def test_every_public_name_is_there() -> None:
    """All names that the package promises can be had from it."""
    for name in sadajem_jax.__all__:
        assert getattr(sadajem_jax, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that the package has not is refused as Python's own modules refuse it."""
    with pytest.raises(AttributeError, match="'sadajem_jax' has no attribute 'nothing'"):
        _ = sadajem_jax.nothing
