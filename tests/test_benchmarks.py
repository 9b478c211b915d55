"""Tests of benchmarks/: timing helpers, programs, and PyTorch's step."""

import importlib.util
import json
import types
from typing import Any

import jax
import numpy as np
import pytest

from benchmarks import autoattack, jax_step, peers, step_time, timing
from sadajem_jax.console import command
from sadajem_jax.training import flops
from sadajem_jax.wide_resnet import WideResNet
from tests import places

torch_is_missing = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch, an optional extra, is not installed"
)


def needs_torch(test: Any) -> Any:
    """Skips a test where torch is missing, and lets it be chosen by `-m torch`."""
    return pytest.mark.torch(torch_is_missing(test))


SMALL: dict[str, Any] = {
    "depth": 10,
    "width": 1,
    "batch_size_px": 2,
    "batch_size_label": 3,
    "num_sgld_steps": 2,
    "dtype": "float32",
    "image_size": 16,
    "rho": 0.2,
}
FLAGS = [f"--{name}={value}" for name, value in SMALL.items()] + ["--rounds=2"]
MEMORY = types.SimpleNamespace(
    temp_size_in_bytes=50,
    argument_size_in_bytes=30,
    output_size_in_bytes=30,
    alias_size_in_bytes=10,
)


def fake_build(**settings):
    """A stand-in for our step, for tests of what surrounds it."""
    assert settings == SMALL
    return lambda: None, 1.5, MEMORY


# --- timing ---------------------------------------------------------------------------------------


def test_spread_gives_median_quartiles_and_ends():
    """Of 1..5 the median is 3, the quartiles 2 and 4."""
    found = timing.spread("t", [5.0, 1.0, 4.0, 2.0, 3.0])
    assert found == {"t": 3.0, "t_min": 1.0, "t_q1": 2.0, "t_q3": 4.0, "t_max": 5.0}


def test_interleave_takes_turns_and_drops_the_warmup(monkeypatch):
    """Every round calls each program once, odd rounds in reverse; warm-up rounds are dropped."""
    monkeypatch.setattr(timing, "PAUSE_SECONDS", 0.0)
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "ab"}
    seconds = timing.interleave(calls, rounds=2, warmup=1)
    assert "".join(order) == "abbaab"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}
    with pytest.raises(ValueError, match="rounds must be at least 1, found 0"):
        timing.interleave(calls, rounds=0)


def test_matmul_multiplies_what_it_counts():
    """A product of size n counts 2 n^3 operations, and its entries have variance about 1."""
    call, tflop = timing.matmul("float32", size=64)
    assert tflop * 1e12 % (2 * 64**3) == 0
    assert call().shape == (64, 64)
    assert 0.7 < float(call().std()) < 1.3
    assert timing.matmul_tflops("float32", rounds=1, size=64) > 0


# --- the programs ---------------------------------------------------------------------------------


def test_step_time_prints_one_consistent_json_line(monkeypatch, capsys):
    """All documented fields are there, and the rates follow from the counts and the seconds."""
    monkeypatch.setattr(jax_step, "build", fake_build)
    monkeypatch.setattr(step_time.jax.config, "update", lambda *_: None)
    step_time.main(FLAGS)
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert SMALL.items() <= found.items() and found["rounds"] == 2
    assert found["step_seconds_min"] <= found["step_seconds"] <= found["step_seconds_max"]
    assert found["compile_seconds"] == 1.5 and found["peak_bytes"] >= 100
    assert found["step_tflop"] == flops.step_tflop(WideResNet(10, 1, 10), (16, 16, 3), 2, 3, 2)
    rate = found["step_tflop"] / found["step_seconds"]
    assert found["tflop_per_second"] == pytest.approx(rate)
    assert found["matmul_share"] == pytest.approx(rate / found["matmul_tflops"])
    assert {"device_kind", "jax_version", "date"} <= found.keys()


def test_peers_without_torch_is_one_clear_line_and_its_own_status(monkeypatch, capsys):
    """Nothing on stdout, one line on stderr that says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert command.run(peers.main, FLAGS) == command.LACKING
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert "pip install torch" in printed.err


@needs_torch
def test_peers_prints_one_json_line_with_both_ratios(monkeypatch, capsys):
    """The ratio is PyTorch's median over ours."""
    monkeypatch.setattr(jax_step, "build", fake_build)
    assert peers.main(FLAGS) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    for form in ("eager", "channels_last"):
        ratio = found[f"{form}_seconds"] / found["ours_seconds"]
        assert found[f"ratio_{form}"] == pytest.approx(ratio)
        assert found[f"ratio_{form}_of_min"] > 0
    assert {
        "torch_version",
        "jax_version",
        "threads",
        "load_average",
        "device_kind",
    } <= found.keys()


def test_build_runs_the_trainers_step(monkeypatch):
    """Each call is a training step that moves the state, at an odd batch too; sizes are known."""
    monkeypatch.setattr(jax_step, "NUM_IMAGES", 200)
    step, compile_seconds, memory = jax_step.build(
        **SMALL | {"num_sgld_steps": 1, "batch_size_px": 3}
    )
    before = jax.device_get(step.state.params["class_output"]["kernel"])
    metrics = [step() for _ in range(2)]  # the first has learning rate 0: the warm-up starts there
    assert int(step.state.step) == 2 and all(np.isfinite(m["loss"]).all() for m in metrics)
    assert not np.array_equal(before, step.state.params["class_output"]["kernel"])
    assert compile_seconds > 0 and (step_time.peak_bytes(memory) or 0) > 0


# --- PyTorch's step against the released program --------------------------------------------------


def close(found, expected, what, tolerance=1e-6):
    """Asserts a relative error, against the array's largest magnitude, of at most `tolerance`."""
    scale = np.abs(expected).max()
    error = np.abs(np.asarray(found) - expected).max()
    assert error <= tolerance * scale, f"{what}: error {error:.2e}, largest magnitude {scale:.2e}"


def golden_state(golden, prefix):
    """The state dict under `prefix`, less the unused energy head and the counters."""
    unused = ("energy_output.", "num_batches_tracked")
    names = [k for k in golden.files if k.startswith(prefix) and not any(u in k for u in unused)]
    return {name.removeprefix(prefix): golden[name] for name in names}


def golden_model(golden, meta, layout):
    """The model in float64 with the state dict from which the steps start, and its optimizer."""
    import torch

    from benchmarks import torch_step

    torch.set_num_threads(1)  # more of them slow each other down where tests run side by side
    size = golden["step0/x_data"].shape[-1]
    model: Any = torch_step.JointModel(
        meta["depth"], meta["width"], meta["n_classes"], size, meta["norm"]
    )
    model = model.double().to(memory_format=getattr(torch, layout)).train()
    prefix = "train/" if "train/f.conv1.weight" in golden.files else "init/"
    state = {k: torch.from_numpy(v) for k, v in golden_state(golden, prefix).items()}
    result = model.load_state_dict(state, strict=False)
    assert not result.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in result.missing_keys)
    return model, torch_step.make_optimizer(model, learning_rate=0.0)


def run_golden_step(golden, meta, model, optimizer, step, layout):
    """Training step number `step` of the file; returns the metrics."""
    import torch

    from benchmarks import torch_step

    optimizer.param_groups[0]["lr"] = float(golden[f"step{step}/lr"])
    names = ("x_data", "x_init", "x_label")
    arrays = (torch.from_numpy(golden[f"step{step}/{name}"]) for name in names)
    x_data, x_init, x_label = (x.contiguous(memory_format=getattr(torch, layout)) for x in arrays)
    return torch_step.train_step(
        model,
        optimizer,
        x_data,
        x_init,
        x_label,
        torch.from_numpy(golden[f"step{step}/y_label"]),
        num_sgld_steps=meta["K"],
        rho=meta["rho"],
        adaptive=meta["adaptive"],
        l2_coeff=meta["l2"],
    )


def check_step(golden, step, metrics, before, after):
    """Chain, losses, state and the step's own change of the parameters, to a relative 1e-6."""
    close(np.stack([x.numpy() for x in metrics["sgld"]]), golden[f"step{step}/sgld"], "sgld")
    for name in ("f_data", "f_sample", "ce", "first_loss", "grad_norm", "second_loss"):
        close(metrics[name].numpy(), golden[f"step{step}/{name}"], name)
    expected = golden_state(golden, f"step{step}/after/")
    assert expected.keys() == after.keys()
    for name, value in expected.items():
        close(after[name], value, name)
        if "running" not in name:
            close(after[name] - before[name], value - before[name], f"change of {name}")


def snapshot(model):
    """The state dict as NumPy copies, less the counters."""
    state = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


@needs_torch
@pytest.mark.parametrize("layout", ["contiguous_format", "channels_last"])
@pytest.mark.parametrize(
    "path", places.golden_files("step0/sgld"), ids=lambda p: p.stem if p else "none"
)
def test_torch_step_reproduces_the_released_program(path, layout):
    """In float64 both forms give the released chain, losses, parameters and running statistics."""
    assert path is not None, f"no golden file with training steps in {places.GOLDEN}"
    with np.load(path) as golden:
        meta = json.loads(str(golden["meta"]))
        model, optimizer = golden_model(golden, meta, layout)
        for step in range(meta["steps"]):
            before = snapshot(model)
            metrics = run_golden_step(golden, meta, model, optimizer, step, layout)
            check_step(golden, step, metrics, before, snapshot(model))


@needs_torch
def test_torch_network_has_36_5_million_parameters():
    """WRN-28-10 with biases, as published."""
    from benchmarks import torch_step

    count = sum(p.numel() for p in torch_step.JointModel(28, 10).parameters())
    assert count == pytest.approx(36.5e6, abs=0.05e6)


def count_executed_flop(call):
    """FLOP of the convolutions and matrix products that torch dispatches in `call()`."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    total = 0

    class Counter(TorchDispatchMode):
        # FlopCounterMode itself follows modules with hooks that torch.autograd.grad cannot run.
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal total
            result = func(*args, **(kwargs or {}))
            if func._overloadpacket in flop_registry:
                total += flop_registry[func._overloadpacket](
                    *args, **(kwargs or {}), out_val=result
                )
            return result

    with Counter():
        call()
    return total


@needs_torch
@pytest.mark.parametrize("rho", [0.0, 0.2])
def test_counted_flop_are_those_that_torch_executes(rho):
    """PyTorch's own counter agrees to 2%: it leaves out the input gradient of the first layer."""
    from benchmarks import torch_step

    settings = SMALL | {"image_size": 32, "rho": rho}
    step = torch_step.build(**settings)
    expected = 1e12 * step_time.step_tflop(**settings)
    assert count_executed_flop(step) == pytest.approx(expected, rel=0.02)


@needs_torch
def test_bfloat16_sees_the_perturbed_weights():
    """Autocast's cached weights do not hide SAM's perturbation: the second loss differs."""
    from benchmarks import torch_step

    metrics = torch_step.build(**SMALL | {"dtype": "bfloat16", "rho": 2.0})()
    assert abs(float(metrics["second_loss"] - metrics["first_loss"])) > 1e-2


@needs_torch
@pytest.mark.parametrize(
    "change, message",
    [({"dtype": "float16"}, "dtype must be.*float16"), ({"depth": 11}, r"6n \+ 4.*found 11")],
)
def test_torch_build_rejects_what_it_cannot_run(change, message):
    """Errors name what was expected and what was found."""
    from benchmarks import torch_step

    with pytest.raises(ValueError, match=message):
        torch_step.build(**SMALL | change)


def test_autoattack_s_rates_are_those_of_four_attacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The benchmark gives each attack a positive rate, and nine targets take longer than none."""
    monkeypatch.setattr("sys.argv", ["autoattack", "--image_size=8", "--batch_size=2"])
    monkeypatch.setattr(autoattack, "STEPS", 2)
    autoattack.main()
    result = json.loads(capsys.readouterr().out)
    rates = result["images_per_second"]
    assert list(rates) == ["apgd-ce", "apgd-t", "fab-t", "square"] and min(rates.values()) > 0
    assert rates["apgd-ce"] > rates["apgd-t"]
