"""Devices that share a run: the same draws and, to rounding, the same results on any number."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.cli import config as config_files
from sadajem_jax.cli import rules
from sadajem_jax.console.errors import UserError
from sadajem_jax.training import dividing, memory, recipes, sharding
from tests import models, places

# In a process of its own, since JAX counts its devices once. Compiled in haste: it runs two steps.
ON_EIGHT = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
ON_DEVICES = """
import pathlib
import re
import sys

import jax
import jax.monitoring
import numpy as np

from sadajem_jax import step_inputs
from sadajem_jax.data import loading
from sadajem_jax.training import experiment, recipes, sharding
from sadajem_jax.training.runner import Runner
from sadajem_jax.workdir.checkpoint import Checkpoints
from tests import models

assert jax.local_device_count() == 8
RECIPE = recipes.of(models.settings())._replace(network=models.TwoLayers())
IMAGES = loading.load(RECIPE.spec, "train")


class Run:
    def __init__(self, devices, recipe=RECIPE, **constants):
        recipe = sharding.shared(recipe, devices)
        recipe = recipe._replace(constants=recipe.constants._replace(**constants))
        self.made = experiment.build(recipe, IMAGES, over=sharding.mesh_of(recipe))
        self.constants, self.runner = recipe.constants, Runner(self.made)

    def steps(self, state, step, until):
        losses = []
        while step < until:
            block = self.runner.run(state, step, until)
            state, step = block.state, step + len(block.metrics["loss"])
            losses.append(block.metrics["loss"])
        parts = self.constants.shares.parts
        assert len(state.buffer.devices()) == len(state.step.devices()) == parts
        return state, np.concatenate(losses)

    def drawn(self):
        feed, _ = self.runner._feeds.at(0)
        state = sharding.placed(self.made.initial_state(), sharding.state_on(self.made.over))
        draw = jax.jit(lambda *given: step_inputs.assemble(*given, self.constants))
        batch, slots = draw(state, feed, self.made.data, self.made.key)
        return host(batch._replace(noise_keys=jax.random.key_data(batch.noise_keys))), host(slots)

    def messages(self):
        state, feed = self.made.initial_state(), self.runner._feeds.at(0)[0]
        state = sharding.placed(state, sharding.state_on(self.made.over))
        program = self.runner._program.lower(state, feed, self.made.data, self.made.key)
        kinds = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
        return re.findall(rf"= (.*?) ({kinds})(?:-start)?\\(", program.compile().as_text())


def host(tree):
    return jax.tree.map(np.array, tree)


def close(one, other, scale=1e-4):
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True
    ):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(a, b, rtol=scale, atol=scale, err_msg=name)
"""

SAME = (
    ON_DEVICES
    + """
folder = pathlib.Path(sys.argv[1])
one, two, four, eight = runs = [Run(devices) for devices in (1, 2, 4, 8)]
for run in runs:
    jax.tree.map(np.testing.assert_array_equal, run.drawn(), one.drawn())
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, fun_name="", **__: compiled.append((event.rpartition("/")[2], fun_name))
)
four.runner.compile(four.made.initial_state())  # ahead, as in a training
ends = [host(run.steps(run.made.initial_state(), 0, 2)) for run in runs]
assert compiled.count(("backend_compile_duration", "jit(train_step)")) == 4
for end in ends[1:]:
    close(end, ends[0])

# Written on eight, read on two and on one.
checkpoints = Checkpoints(folder)
state = eight.steps(eight.made.initial_state(), 0, 2)[0]
checkpoints.save(2, state)
expected = host(eight.steps(state, 2, 3))
for run in (two, one):
    found = checkpoints.restore(2, jax.eval_shape(run.made.initial_state))
    jax.tree.map(np.testing.assert_array_equal, found, ends[3][0])
    close(host(run.steps(found, 2, 3)), expected)
checkpoints.close()

# A feed of a run on another device: what is read of it is drawn on the host's own.
first, *_, last = jax.devices()
with jax.default_device(last):
    feeder = experiment.build(RECIPE, IMAGES).feeder
    feed, _ = feeder.feed(0)
drawn = feeder._due(feeder.key, 0), *feeder._drawn(feeder.key, 0, *np.zeros((2, 8), np.int32))
assert all(x.devices() == {first} for x in drawn)
assert all(leaf.devices() == {last} for leaf in jax.tree.leaves(feed))
jax.tree.map(np.testing.assert_array_equal, host(feed), host(one.runner._feeds.at(0)[0]))
"""
)

TOGETHER = (
    ON_DEVICES
    + """
recipe = recipes.of(models.settings(model__norm_groups=8))._replace(network=models.TwoLayers())
one, eight = (Run(devices, recipe, unroll=False) for devices in (1, 8))
ends = [host(run.steps(run.made.initial_state(), 0, 1)) for run in (one, eight)]
close(ends[1], ends[0])
messages = eight.messages()
for shape, kind in messages:  # the slots' random bits may be gathered, they are drawn anywhere
    assert kind == "all-reduce" or shape.startswith("u32"), (shape, kind)
assert "bf16" not in str(messages) and len(messages) < 8, messages  # one norm group: 18
"""
)


KERNELS = """
import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax.training import sharding
from sadajem_jax.wide_resnet import WideResNet

over = sharding.Mesh(np.array(jax.devices()), (sharding.AXIS,))
assert sharding.network_on(over, WideResNet(10, 1, 10)).convolution is None
network = sharding.network_on(over, WideResNet(10, 1, 10, dtype=jnp.bfloat16))
x = jax.random.normal(jax.random.key(0), (64, 8, 8, 3), jnp.bfloat16)
kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 4), jnp.bfloat16)


def loss(x, kernel, convolve=network.convolution):
    how = {"padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    return jnp.mean(jnp.square(convolve(x, kernel, (2, 2), **how).astype(jnp.float32)))


def of_kernel(x, kernel, **how):
    return jax.grad(lambda kernel: loss(x, kernel, **how))(kernel)


x = jax.device_put(x, sharding.NamedSharding(over, sharding.PartitionSpec(sharding.AXIS)))
found = jax.jit(jax.value_and_grad(loss, (0, 1)))(x, kernel)
plain = jax.lax.conv_general_dilated
expected = jax.jit(jax.value_and_grad(lambda *given: loss(*given, plain), (0, 1)))(x, kernel)
for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(np.float32(a), np.float32(b), rtol=0.01, atol=1e-6)
assert "psum" in str(jax.make_jaxpr(of_kernel)(x, kernel))
assert "psum" not in str(jax.make_jaxpr(jax.grad(loss))(x, kernel))
program = jax.jit(of_kernel).lower(x, kernel).as_text()
after = program[program.index("all_reduce"):]
assert after.split("}) : ")[1].startswith("(tensor<3x3x3x4xf32>)"), program

# Biases, where there is no norm: each row's own gradient in bfloat16, their sum in float32. On the
# CPU XLA's own are ten times further from the float32 network's.
plain = WideResNet(10, 1, 10, norm="none", dtype=jnp.bfloat16)
variables = plain.init(jax.random.key(2), x[:1])


def of_biases(network):
    def loss(biases, params):
        params = {**params, **{name: {**params[name], "bias": b} for name, b in biases.items()}}
        return jnp.mean(jnp.square(network.apply({"params": params}, x)))

    params = variables["params"]
    biases = {name: leaf["bias"] for name, leaf in params.items() if "conv" in name}
    return jax.jit(jax.grad(loss)), biases, params


gradient, *given = of_biases(sharding.network_on(over, plain))
exact = of_biases(plain.clone(dtype=jnp.float32))[0](*given)
off, of_xla = (
    [np.abs(a - b).mean() / np.abs(b).mean() for a, b in zip(*map(jax.tree.leaves, pair))]
    for pair in ((gradient(*given), exact), (of_biases(plain)[0](*given), exact))
)
assert max(off) < 0.02 and sum(off) < sum(of_xla), (off, of_xla)
assert str(gradient.trace(*given).jaxpr).count("f32[64,1,1,16]") == 3
"""


def on_eight_devices(script: str, *args: str) -> str:
    """Runs a script in a process that has eight CPU devices; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *args],
        cwd=places.ROOT,
        env={**os.environ, "XLA_FLAGS": ON_EIGHT, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_any_number_of_devices_gives_the_same_run(tmp_path: pathlib.Path) -> None:
    """On 1, 2, 4 and 8: equal draws; after two steps losses and states are equal to rounding.

    A checkpoint written on 8 is restored to the bit on 2 and on 1, which go on as 8 do. What a feed
    must know on the host is drawn there, whatever device the run is on, with the same bits.
    """
    on_eight_devices(SAME, str(tmp_path))


def test_norm_groups_of_their_own_need_no_message() -> None:
    """In the form for accelerators 8 devices with 8 norm groups agree with one.

    They send no image, and only sums: of the gradients, and of losses, metrics and moments.
    """
    on_eight_devices(TOGETHER)


def test_gradients_are_summed_in_float32() -> None:
    """A convolution in bfloat16 over 8 devices: XLA's own values and gradients, up to bfloat16.

    Its kernel's gradient is summed in float32; a chain, which asks for none, sends nothing. So are
    the gradients of a network's biases, which are those of the float32 network to 2%.
    """
    on_eight_devices(KERNELS)


def recipe(**fields: Any) -> recipes.Recipe:
    """The tiny one of the digits."""
    return recipes.of(models.settings(**fields))


@pytest.mark.parametrize(
    "fields, devices, words",
    [
        ({}, 3, ["num_shards=8 and config.train.batch_size_px=8 and", "num_shards=9", "see 2 of"]),
        ({}, 16, ["config.buffer.num_shards=8", "of the 16 devices", "=16", "see 8 of"]),
        ({"train__batch_size_label": 12}, 8, ["batch_size_label=12 must", "=16", "see 4 of"]),
        ({"train__micro_batches": 2}, 2, ["micro_batches must be 1 on 2", "norm_groups=2"]),
    ],
)
def test_what_devices_cannot_share_is_refused(
    fields: dict[str, Any], devices: int, words: list[str]
) -> None:
    """One line names the fields, what to give, and how many devices could."""
    with pytest.raises(UserError) as refused:
        sharding.shared(recipe(**fields), devices)
    assert all(word in str(refused.value) for word in words), refused.value
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("devices", [2, 3, 5, 7, 12, 16, 64])
def test_the_fields_advised_go_together(devices: int) -> None:
    """With all that the line gives, the config is taken and the devices share its rows."""
    fields: list[dict[str, Any]] = [
        {"train__batch_size_label": 12},
        {"model__norm_groups": 2, "train__micro_batches": 4},
        {"sgld__init": "uniform", "objective__class_conditional": True, "buffer__size": 80},
    ]
    for each in fields:
        config = models.settings(**each)
        found = {k: str(v) for k, v in dividing.nearest(recipes.of(config), devices).items()}
        config_files.override(config, found)
        rules.check(config)
        assert sharding.shared(recipes.of(config), devices).constants.shares.parts == devices


def test_one_device_is_placed_nowhere() -> None:
    """Where there is one device, the recipe is as it was and the program has no placements."""
    made = recipe(train__micro_batches=2)
    assert sharding.shared(made, 1) == made
    assert sharding.mesh_of(made) is None
    assert sharding.of_program(None, is_looped=True) == {}


def test_a_model_that_was_read_is_every_process_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several processes each takes its copy of a training's arrays, and NumPy's as they are."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    read, trained = np.ones(2), jnp.zeros(3)
    found = sharding.own({"read": read, "trained": trained})
    assert found["read"] is read and found["trained"].shape == (3,)


def test_each_device_keeps_its_part() -> None:
    """Of the buffer and of what a pass keeps, the estimate counts a device's part."""
    one, eight = (memory.estimate(sharding.shared(recipe(), devices)) for devices in (1, 8))
    assert eight.passes == one.passes // 8 and eight.fixed < one.fixed
