"""The Wide-ResNet: its size, its initial distribution, its modes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.batch_norm import MOMENTS
from sadajem_jax.wide_resnet import WideResNet

SMALL = WideResNet(depth=10, width=1, num_classes=5)
SHAPE = (4, 8, 8, 3)


@pytest.fixture(scope="module")
def start() -> Any:
    """The variables that the smallest network starts with."""
    return jax.jit(SMALL.init)(jax.random.key(0), jnp.zeros(SHAPE))


@pytest.fixture(scope="module")
def variables(start: Any) -> Any:
    """The same, the running statistics away from where they start."""
    moved = jax.tree.map(lambda s: s + np.linspace(0.1, 2, s.size), start["batch_stats"])
    return {"params": start["params"], "batch_stats": moved}


@pytest.fixture(scope="module")
def images() -> jax.Array:
    """A batch in [-1, 1]."""
    return jax.random.uniform(jax.random.key(1), SHAPE, minval=-1, maxval=1)


def shapes(model: WideResNet, pixels: int) -> Any:
    """Shapes of the variables; computes nothing."""
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, pixels, pixels, 3)))


def conv_count(size: int, before: int, after: int) -> int:
    """Parameters of a convolution with bias."""
    return size * size * before * after + after


def test_wrn_28_10_has_36_5_million_parameters() -> None:
    """WRN-28-10 with biased convolutions has 36,489,290 parameters, counted layer by layer."""
    expected, before = conv_count(3, 3, 16), 16
    for after in (160, 320, 640):
        for block in range(4):
            expected += 2 * before + conv_count(3, before, after)  # bn1, conv1
            expected += 2 * after + conv_count(3, after, after)  # bn2, conv2
            expected += conv_count(1, before, after) if block == 0 else 0  # shortcut
            before = after
    expected += 2 * 640 + 640 * 10 + 10  # bn1, class_output
    params = shapes(WideResNet(28, 10, 10), 32)["params"]
    found = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert found == expected == 36_489_290
    assert round(found / 1e6, 1) == 36.5


def test_kernels_and_biases_start_as_pytorch_s_do(start: Any) -> None:
    """Every kernel and bias starts as U(+-1/sqrt(fan_in)), whose variance is 1 / (3 fan_in)."""
    biases = []
    for name, layer in start["params"].items():
        if "kernel" not in layer:
            continue
        kernel, bias = np.float64(layer["kernel"]), np.float64(layer["bias"])
        fan_in = np.prod(kernel.shape[:-1])
        assert max(abs(kernel).max(), abs(bias).max()) <= fan_in**-0.5 * (1 + 1e-6), name
        # The square of a uniform has a relative variance of 0.8.
        ratio = np.mean(kernel**2) * 3 * fan_in
        assert abs(ratio - 1) < 5 * (0.8 / kernel.size) ** 0.5, name
        biases.append(bias**2 * 3 * fan_in)
    of_biases = np.concatenate(biases)
    assert of_biases.size > 300
    assert abs(of_biases.mean() - 1) < 5 * (0.8 / of_biases.size) ** 0.5


def test_norms_start_as_the_identity(start: Any) -> None:
    """Scales start at 1, shifts at 0, running means at 0, running variances at 1."""
    expected = {"scale": 1, "bias": 0, "mean": 0, "var": 1}
    for name, layer in start["batch_stats"].items():
        for part, value in {**layer, **start["params"][name]}.items():
            np.testing.assert_array_equal(value, expected[part], err_msg=f"{name}/{part}")


@pytest.mark.parametrize("train", [False, True])
def test_bfloat16_computes_in_it_and_keeps_the_rest(train: bool) -> None:
    """With dtype bfloat16 convolutions give bfloat16; logits, params and moments are float32."""
    model = WideResNet(10, 1, 5, dtype=jnp.bfloat16)
    variables = shapes(model, 8)

    def apply(variables: Any, x: jax.Array) -> Any:
        mutable = [MOMENTS, "intermediates"]
        return model.apply(variables, x, train, mutable=mutable, capture_intermediates=True)

    x = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    logits, found = jax.eval_shape(apply, variables, x)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    moments = jax.tree.leaves(found.get(MOMENTS, {}))
    assert {leaf.dtype for leaf in moments} == ({jnp.dtype("float32")} if train else set())
    inside = {k: v for k, v in found["intermediates"].items() if "conv" in k or "bn" in k}
    assert len(inside) == 1 + 3 * 2 + 3 * 2 + 1  # conv1, a block's two and two, and the last norm
    assert {leaf.dtype for leaf in jax.tree.leaves(inside)} == {jnp.dtype("bfloat16")}


def test_bfloat16_logits_are_near_float32_s(variables: Any, images: jax.Array) -> None:
    """Computing in bfloat16 moves the logits by its rounding and no more."""
    exact, rough = (
        np.asarray(jax.jit(SMALL.clone(dtype=dtype).apply)(variables, images))
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    off = np.abs(rough - exact).max() / np.abs(exact).max()
    assert 1e-5 < off < 0.1


@pytest.mark.parametrize("depth", [4, 9, 11, 12, 27, 30])
def test_other_depths_are_refused(depth: int) -> None:
    """A depth that is not 6 n + 4 with n at least 1 is an error that names it."""
    with pytest.raises(ValueError, match=rf"6 n \+ 4.*found {depth}"):
        shapes(WideResNet(depth, 1, 10), 8)


def test_other_norms_are_refused() -> None:
    """A norm that is neither "batch" nor "none" is an error that names it."""
    with pytest.raises(ValueError, match="found 'layer'"):
        shapes(WideResNet(10, 1, 10, norm="layer"), 8)


def test_without_a_norm_there_are_no_statistics() -> None:
    """Without a norm there are no running statistics, no scales, and sows no moments."""
    model = WideResNet(10, 1, 5, norm="none")
    variables = shapes(model, 8)
    assert set(variables) == {"params"}
    assert not any("bn" in name for name in variables["params"])
    x = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
    _, sown = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=True, mutable=[MOMENTS]), variables, x
    )
    assert not jax.tree.leaves(sown)


def test_64_pixels_have_a_fourth_stage() -> None:
    """At 64 pixels a stage of 128 width channels follows the third; at 32 there is none."""
    model = WideResNet(10, 2, 5)
    large, small = (shapes(model, pixels)["params"] for pixels in (64, 32))
    assert large["layer4_0_conv2"]["kernel"].shape == (3, 3, 256, 256)
    assert large["layer4_0_shortcut"]["kernel"].shape == (1, 1, 128, 256)
    assert large["class_output"]["kernel"].shape == (256, 5)
    assert small["class_output"]["kernel"].shape == (128, 5)
    assert not any(name.startswith("layer4") for name in small)


def test_only_training_mode_couples_the_rows(variables: Any, images: jax.Array) -> None:
    """Changing one image of a batch moves the others' logits in training mode, never otherwise."""
    changed = images.at[-1].set(-images[-1])

    def others(x: jax.Array, train: bool) -> jax.Array:
        logits, _ = SMALL.apply(variables, x, train, mutable=[MOMENTS])
        return logits[:-1]

    assert jnp.abs(others(images, True) - others(changed, True)).min() > 1e-4
    np.testing.assert_array_equal(others(images, False), others(changed, False))


def test_a_training_forward_moves_no_running_statistics(variables: Any, images: jax.Array) -> None:
    """A training-mode forward leaves the running statistics and sows moments of their structure.

    One row of each, for the one group.
    """
    mutable = [MOMENTS, "batch_stats"]
    _, found = SMALL.apply(variables, images, train=True, mutable=mutable)
    jax.tree.map(np.testing.assert_array_equal, found["batch_stats"], variables["batch_stats"])
    like = jax.tree.map(lambda leaf: (1, *leaf.shape), variables["batch_stats"])
    assert jax.tree.map(jnp.shape, found[MOMENTS]) == like


def test_training_logits_never_depend_on_running_statistics(
    variables: Any, images: jax.Array
) -> None:
    """In training mode the logits are the same whatever the running statistics are."""
    other = {**variables, "batch_stats": jax.tree.map(jnp.ones_like, variables["batch_stats"])}
    here, there = (SMALL.apply(v, images, True, mutable=[MOMENTS])[0] for v in (variables, other))
    np.testing.assert_array_equal(here, there)


def test_biases_of_convolutions_move_nothing_in_training(variables: Any, images: jax.Array) -> None:
    """In training mode any bias of a convolution leaves the logits, and its gradient is 0.

    In evaluation mode it moves them.
    """

    def shifted(by: float) -> Any:
        params = {
            name: {**of, "bias": of["bias"] + by * jnp.arange(len(of["bias"]))}
            if "kernel" in of and of["kernel"].ndim == 4
            else of
            for name, of in variables["params"].items()
        }
        return {**variables, "params": params}

    def logits(variables: Any, train: bool) -> jax.Array:
        return SMALL.apply(variables, images, train, mutable=[MOMENTS])[0]

    np.testing.assert_allclose(
        logits(shifted(0.3), True), logits(variables, True), rtol=1e-3, atol=1e-4
    )
    assert jnp.abs(logits(shifted(0.3), False) - logits(variables, False)).max() > 1e-2

    def loss(params: Any, train: bool) -> jax.Array:
        return jnp.sum(jnp.square(logits({**variables, "params": params}, train)))

    for train in (True, False):
        grads = jax.grad(loss)(variables["params"], train)
        biases = [g["bias"] for name, g in grads.items() if "conv" in name or "shortcut" in name]
        assert len(biases) == 1 + 3 * 2 + 3 - (SMALL.width == 1)
        assert all(np.any(b != 0) != train for b in biases)
