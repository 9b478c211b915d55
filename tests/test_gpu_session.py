"""The session for a GPU: parts that stand alone, and a page of what was predicted and came."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from benchmarks.session import __main__ as command
from benchmarks.session import page, parts, profile, running, summary
from benchmarks.session import tests as gpu_tests
from benchmarks.session.outcome import DONE, FAILED, NOT_BEGUN, NOT_HERE, TIMED_OUT, Outcome
from benchmarks.session.parts import Part, Plan
from sadajem_jax.console.errors import UserError
from tests import places

STEP: dict[str, Any] = {
    **{"depth": 28, "width": 10, "batch_size_px": 64, "batch_size_label": 128},
    **{"dtype": "bfloat16", "num_sgld_steps": 5, "compile_seconds": 50.0},
    **{"block_step_seconds": 0.08, "single_step_seconds": 0.09, "tflop_per_second": 320.0},
    "predicted": {"predicted_step_seconds": 0.064},
    "estimated": {"convolutions": 0.04, "others": 0.02, "launches": 0.01, "messages": 0.0},
    "memory": {"by_xla": 3_500_000_000, "estimate": 3_700_000_000, "peak": 3_600_000_000},
}


def part(code: str, name: str = "try", limit: int = 60) -> Part:
    """A part that runs a line of Python."""
    return Part(name, f"Tries {name}", (sys.executable, "-c", code), limit)


def outcome(name: str, result: dict[str, Any], status: str = DONE, line: str = "") -> Outcome:
    """Of a part that took ten seconds."""
    return Outcome(name, f"Finds {name}", status, 10.0, 60, ["python", "-c", name], result, line)


@pytest.mark.parametrize(
    "code, status, words",
    [
        ("print('{\"a\": 1}')", DONE, ""),
        (
            "print('{\"a\": 1}'); raise SystemExit('error: the card is gone')",
            FAILED,
            "card is gone",
        ),
        ("import sys; print('torch is missing', file=sys.stderr); sys.exit(69)", NOT_HERE, "torch"),
        ("import sys; print('disk full', file=sys.stderr); sys.exit(2)", FAILED, "disk full"),
        ("print('no object')", FAILED, "no object"),
    ],
)
def test_a_part_ends_in_its_own_way(
    tmp_path: pathlib.Path, code: str, status: str, words: str
) -> None:
    """Done with its last JSON object; failed, or not to be done here, with its last words."""
    found = running.run(part(code), tmp_path, 60)
    assert (found.status, found.result) == (status, {"a": 1} if "{" in code else {})
    assert words in found.last_line and bool(words) == bool(found.last_line)


def test_a_part_is_ended_at_its_limit_with_all_that_it_began(tmp_path: pathlib.Path) -> None:
    """What was printed before is kept, and no process of it lives on to write its file."""
    late = tmp_path / "late"
    child = f"import time; time.sleep(3); open({str(late)!r}, 'w')"
    code = (
        "import subprocess, sys, time; print('{\"early\": 1}', flush=True); "
        f"subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    )
    found = running.run(part(code), tmp_path, 1.5)
    assert (found.status, found.result) == (TIMED_OUT, {"early": 1})
    assert found.last_line.startswith("ended after 2 s") and found.seconds < 20
    time.sleep(2)
    assert not late.exists()


ENDED = """
import pathlib, sys
from benchmarks.session import __main__ as command, parts
begun = sys.argv[1] + ".begun"
code = f"import os, time; open({begun!r}, 'w').write(str(os.getpid())); time.sleep(60)"
parts.of = lambda plan: [parts.Part("try", "Tries", (sys.executable, "-c", code), 60)]
command.device_kind = lambda: "cpu"
command.main(["--out", sys.argv[1]])
"""


def test_a_session_that_is_ended_leaves_no_part(tmp_path: pathlib.Path) -> None:
    """SIGTERM, of a scheduler or of `timeout`, ends the part that runs: it would keep the card."""
    begun = tmp_path / "out.begun"
    argv = [sys.executable, "-c", ENDED, str(tmp_path / "out")]
    with subprocess.Popen(argv, cwd=places.ROOT, stdout=subprocess.DEVNULL) as process:
        while not (begun.exists() and begun.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)


def test_a_session_goes_on_past_failures_and_later_with_what_is_left(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing part takes no other along; the next call runs it alone, and no time begins none.

    On another card the same folder is refused: its page would mix the two.
    """
    code = f"open({str(tmp_path / 'runs')!r}, 'a').write('x'); print('{{\"a\": 1}}')"
    good, bad = part(code, "good"), part("raise SystemExit('wrong')", "bad")
    plan = Plan(tmp_path / "out", "h100")
    monkeypatch.setattr(parts, "of", lambda plan: [bad, good])
    first = command.session(plan, [bad, good], 60, again=False)
    assert [o.status for o in first] == [FAILED, DONE]
    again = command.session(plan, [bad, good], 0, again=False)
    assert [o.status for o in again] == [NOT_BEGUN, DONE]
    assert (tmp_path / "runs").read_text() == "x"
    written = json.loads((plan.out / "session.json").read_text())
    assert [each["status"] for each in written["parts"]] == [NOT_BEGUN, DONE]
    assert "no time was left" in (plan.out / "index.html").read_text()
    monkeypatch.setattr(parts, "of", lambda plan: [bad])
    later = command.session(plan, [bad], 0, again=False)  # "good" is no part any more
    assert [o.name for o in later] == ["bad"]
    with pytest.raises(UserError, match=r"on cpu, and this is NVIDIA X: give another .* --out"):
        command.session(plan._replace(device="NVIDIA X"), [bad], 0, again=True)


def test_the_page_says_what_was_predicted_and_what_came() -> None:
    """A step's time and ratio, memory, PyTorch beside ours, and a failed part's last words."""
    peers = STEP | {"torch_version": "2.11", "ours_seconds": 0.08, "eager_seconds": 0.188}
    found = [
        outcome("step_bfloat16_5", STEP),
        outcome("step_bfloat16_5_det", STEP | {"block_step_seconds": 0.1}),
        outcome("peers_bfloat16_5", peers | {"ratio_eager": 2.35, "ratio_eager_of_min": 2.1}),
        outcome("tests", {"passed": 3, "failed": 1, "skipped": 0, "failures": {"test_a": "off"}}),
        outcome("attack", {}, TIMED_OUT, "ended after 300 s; square"),
    ]
    made = summary.of(found, "h100", is_small=False)
    figures = {(f["what"], f["how"]): (f["predicted"], f["came"]) for f in made["figures"]}
    own = "from the kernels of the program that was timed"
    assert figures["a step", own] == pytest.approx((64.0, 80.0))
    assert figures["peak memory", "XLA's count of the program"] == pytest.approx((3.5, 3.6))
    assert figures["deterministic, over the plain step", ""][1] == pytest.approx(1.25)
    text = page.of(json.loads(json.dumps(made)))
    words = ("1.25", "PyTorch, eager", "2.35 of ours", "3 passed, 1 failed", "attack.log", "square")
    assert not [word for word in words if word not in text] and "least size" not in text


def test_a_small_session_warns_that_nothing_is_about_a_gpu() -> None:
    """So that no number of a try on the CPU passes for a prediction that failed."""
    made = summary.of([outcome("facts", {"devices": 1, "versions": {}})], "h100", is_small=True)
    assert "no number here is about a GPU" in page.of(made)


def test_parts_are_named_or_refused() -> None:
    """Each has a name of its own and a command of ours; a name that is none is told in one line."""
    plan = Plan(pathlib.Path("out"), "h100")
    names = [each.name for each in parts.of(plan)]
    assert len(set(names)) == len(names)
    assert [p.name for p in parts.named(plan, ["tests", "facts"])] == ["facts", "tests"]
    with pytest.raises(UserError, match=r"--parts must be of facts, .*found 'fact'"):
        command.chosen_parts(plan, ["fact"])


def test_the_tests_for_a_gpu_are_all_of_them() -> None:
    """The session collects every file that marks a test with `gpu`."""
    marked = {
        str(path.relative_to(places.ROOT))
        for path in (places.ROOT / "tests").rglob("test_*.py")
        if re.search(r"(?m)^pytestmark = .*mark\.gpu\b", path.read_text())
    }
    assert marked == set(gpu_tests.FILES)


def test_a_profile_is_summed_by_kind() -> None:
    """Kernels of two steps by kind, those that the program does not know apart, and the gaps."""
    kind_of = {"conv_1": "convolutions", "fusion_2": "others"}
    found = [
        profile.Event(name, start, length)
        for name, start, length in (("conv_1", 0, 6e6), ("fusion_2", 8e6, 2e6), ("x", 10e6, 4e6))
    ]
    times = profile.times(found, kind_of)
    expected = {"convolutions": 0.003, "others": 0.001, "unnamed": 0.002, "idle": 0.001}
    assert times["seconds_of"] == pytest.approx(expected)
    assert next(iter(times["slowest"])) == "conv_1"


def test_the_script_runs_a_part_from_anywhere(tmp_path: pathlib.Path) -> None:
    """tools/gpu_session.sh finds the checkout, runs what is named and says where the page is."""
    script = places.ROOT / "tools" / "gpu_session.sh"
    done = subprocess.run(
        [script, "--small", "--parts", "facts", "--out", tmp_path / "out"],
        cwd=tmp_path,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "facts: What the machine is" in done.stdout and "index.html" in done.stdout
    written = json.loads((tmp_path / "out" / "session.json").read_text())
    assert written["parts"][0]["result"]["platform"] == "cpu"
