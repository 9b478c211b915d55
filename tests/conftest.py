"""What holds for all tests: the CPU, a compilation cache, one share of the cores a process."""

import os
from pathlib import Path

# All of these are read when JAX is first imported, so they stand before any import of it; what the
# caller has set stays.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Compiling is most of the tests' time: keep every program, however small, for the next run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# Under pytest-xdist each process would start a thread for every core of the machine.
# NPROC is XLA's, the other two are those of NumPy, SciPy and scikit-learn.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for name in "NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS":
        os.environ.setdefault(name, str(max(1, share)))

import jax
import pytest

from tests import pages


@pytest.fixture(scope="session", autouse=True)
def no_pages():
    """Trainings draw no page of their own, but where a test asks for it."""
    with pages.left_out():
        yield


@pytest.fixture
def x64():
    """Double precision for the length of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def compiled_in_haste():
    """For modules whose programs run for a moment: XLA optimizes less and compiles twice as fast.

    Not where rates or the released program's numbers are looked at.
    """
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
