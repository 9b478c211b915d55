"""Runs the tests that are marked `gpu` on whatever JAX finds, and counts, as one JSON line.

python -m benchmarks.session.tests
"""

from __future__ import annotations

import os

# JAX would take most of the card at its start, here and in every process that a test begins.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from typing import Any

from benchmarks import timing
from sadajem_jax import backend

ROOT = pathlib.Path(__file__).parents[2]
FILES = ("tests/test_golden.py", "tests/test_on_gpu.py")  # all that hold such tests
QUICK = "draws"  # words in the names of the tests that a small session takes


def main() -> int:
    """Prints the line; returns 0 if no test failed, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    is_small = parser.parse_args().small
    platforms = "cpu" if backend.on_cpu() else "cuda,cpu"  # the CPU too: to compare with
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report.xml")
        argv = ["-m", "gpu", "-v", f"--junitxml={report}", "-p", "no:cacheprovider", *FILES]
        argv += ["-k", QUICK] if is_small else []
        env = os.environ | {"JAX_PLATFORMS": platforms}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *argv], cwd=ROOT, env=env, stdout=sys.stderr
        )
        found = counted(report) if report.exists() else {}
    print(json.dumps(found | {"platforms": platforms} | timing.environment()), flush=True)
    return int(done.returncode != 0)


def counted(report: pathlib.Path) -> dict[str, Any]:
    """Tests passed, skipped and failed of a JUnit report, and the first line of each failure."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failures = {
        case.get("name", ""): (wrong.get("message") or "").partition("\n")[0][:300]
        for case in cases
        for wrong in [*case.findall("failure"), *case.findall("error")]
    }
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - skipped - len(failures)
    return {"passed": passed, "skipped": skipped, "failed": len(failures), "failures": failures}


if __name__ == "__main__":
    sys.exit(main())
