"""XLA's flags: what is asked for holds, and what the user asked for stays."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from sadajem_jax.console import xla_flags
from tests import places

# The share of a bfloat16 convolution's outputs, read in float32, that are bfloat16 values.
SHARE = """
import sys

from sadajem_jax.console import xla_flags

xla_flags.round_as_written(*sys.argv[1:])

import jax
import jax.numpy as jnp
from flax import linen as nn

network = nn.Conv(16, (3, 3), dtype=jnp.bfloat16)
x = jax.random.normal(jax.random.key(0), (4, 8, 8, 16), jnp.bfloat16)
variables = network.init(jax.random.key(1), x)
y = jax.jit(lambda x: network.apply(variables, x).astype(jnp.float32))(x)
print(float(jnp.mean(y == y.astype(jnp.bfloat16))))
"""


def share_of_rounded(*dtypes: str) -> float:
    """What the script prints, in a process of its own: flags are read once."""
    environment = {k: v for k, v in os.environ.items() if k != xla_flags.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", SHARE, *dtypes],
        cwd=places.ROOT,
        env=environment | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return float(done.stdout)


def test_a_network_in_bfloat16_computes_bfloat16() -> None:
    """On the CPU every output of a convolution is rounded to bfloat16, and only if asked to."""
    assert share_of_rounded("float32", "bfloat16") == 1
    assert share_of_rounded("float32") < 0.5


@pytest.mark.parametrize("given", ["true", "false"])
def test_the_user_s_flags_stay(given: str, monkeypatch: Any) -> None:
    """A flag that stands in XLA_FLAGS is not given again, with another value or the same."""
    before = f"--xla_allow_excess_precision={given} --xla_dump_to="
    monkeypatch.setenv(xla_flags.VARIABLE, before)
    xla_flags.round_as_written("bfloat16")
    assert os.environ[xla_flags.VARIABLE] == before
