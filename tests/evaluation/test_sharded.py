"""Sums and rows over the devices: exact for every remainder, whatever the number of devices."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.evaluation.sharded import ShardedRows
from tests import places

ON_DEVICES = """
import sys
import jax
import numpy as np
from sadajem_jax.evaluation.sharded import ShardedRows

assert jax.local_device_count() == int(sys.argv[1])
traces = []

def per_row(scale, rows):
    traces.append(1)
    x, y = rows
    return {"one": x[:, 0] * 0 + 1, "xy": scale * x.sum(axis=1) * y}

gathered = ShardedRows(per_row, batch_size=3)
for n in range(1, 27):
    x = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    y = np.arange(n, dtype=np.float32) % 5
    rows = gathered(np.float32(2), (x, y))
    np.testing.assert_array_equal(rows["xy"], 2 * x.sum(axis=1) * y)
    assert rows["one"].shape == (n,) and rows["one"].sum() == n
assert len(traces) == 1, traces
"""


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_exact_for_every_remainder_and_compiled_once(devices: int) -> None:
    """1 to 26 rows of 3 a device are what NumPy gives, each once, in one program."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", ON_DEVICES, str(devices)],
        cwd=places.ROOT,
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True,
        timeout=300,
    )


def row_and_matrix(variables: Any, rows: Any) -> dict[str, Any]:
    """Values of two shapes a row."""
    return {"row": rows * variables, "matrix": jnp.stack([rows, -rows], axis=-1)}


def test_rows_keep_shape_and_order() -> None:
    """Values of any shape a row come back as [N, ...], in the rows' order, without the padding."""
    x = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    found = ShardedRows(row_and_matrix, batch_size=4)(np.float32(1), x)
    np.testing.assert_array_equal(found["row"], x)
    np.testing.assert_array_equal(found["matrix"], np.stack([x, -x], axis=-1))


def test_padding_never_counts() -> None:
    """A value that is huge for the last row, which fills the batch up, comes once."""
    rows = np.array([1, 2, 3, 4, 1e30], np.float32)
    found = ShardedRows(lambda scale, x: {"value": x * scale}, batch_size=4)(np.float32(1), rows)
    np.testing.assert_array_equal(found["value"], rows)


def test_no_rows_is_an_error() -> None:
    """Nothing to evaluate raises, instead of giving a mean over nothing."""
    with pytest.raises(ValueError, match="at least one row"):
        ShardedRows(row_and_matrix, batch_size=4)(np.float32(1), np.zeros((0, 3), np.float32))


def test_progress_is_told_every_batch() -> None:
    """After each batch it is told how many of all rows are done; without it nothing is."""
    rows: Any = ShardedRows(row_and_matrix, batch_size=4)
    seen: list[tuple[int, int]] = []
    rows(np.float32(1), np.zeros((9, 2), np.float32), lambda *pair: seen.append(pair))
    rows(np.float32(1), np.zeros((9, 2), np.float32))
    assert seen == [(4, 9), (8, 9), (9, 9)]
