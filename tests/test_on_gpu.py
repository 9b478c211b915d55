"""What a GPU may change, and must not: run on the CPU by everyone, on a GPU by the session there.

    JAX_PLATFORMS=cuda,cpu python -m pytest -m gpu

test_golden.py belongs to it: in float64 the released program's numbers, on whatever computes.
"""

from __future__ import annotations

import pathlib
import shutil
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.session import cards
from sadajem_jax import backend, train_step
from sadajem_jax.data import loading
from sadajem_jax.gpu_program import program
from sadajem_jax.training import experiment, recipes, runner
from tests import models, places, runs
from tests.test_golden import Golden

pytestmark = pytest.mark.gpu

# Of each array's largest magnitude, after a chain and two passes. Float32 convolutions of a GPU
# round their operands to TF32's 11 bits unless they are told not to.
FLOAT32, TF32 = 2e-4, 2e-2

needs_gpu = pytest.mark.skipif(backend.on_cpu(), reason="is another thing on a GPU alone")


def test_draws_are_those_of_the_cpu() -> None:
    """A key's bits and uniform numbers are the CPU's to the last bit, normal ones to rounding."""
    key = jax.random.fold_in(jax.random.key(3), 7)
    here, there = _draws(key), _draws(jax.device_put(key, jax.devices("cpu")[0]))
    for name in ("bits", "uniform", "permutation"):
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)
    np.testing.assert_allclose(here["normal"], there["normal"], rtol=1e-5, atol=1e-6)


def _draws(key: jax.Array) -> dict[str, np.ndarray]:
    made = {
        "bits": jax.random.bits(key, (1000,)),
        "uniform": jax.random.uniform(key, (1000,), minval=-1),
        "permutation": jax.random.permutation(key, 100),
        "normal": jax.random.normal(key, (1000,)),
    }
    return {name: np.asarray(value) for name, value in made.items()}


@pytest.mark.parametrize(
    "precision, tolerance",
    [("highest", FLOAT32), pytest.param("default", TF32, marks=needs_gpu)],
)
def test_a_float32_pass_is_the_released_one(precision: str, tolerance: float) -> None:
    """In float32 the losses and the gradient's norm are those of float64, to a tolerance that is
    stated: 2e-4 at the highest precision, 2e-2 at the default one.
    """
    golden = _released("float32")
    names = ("f_data", "f_sample", "ce", "first_loss", "grad_norm")
    with jax.default_matmul_precision(precision):
        found = dict(zip(names, jax.jit(_pass, static_argnums=0)(golden), strict=True))
    released = {name: float(golden.arrays[f"step0/{name}"]) for name in names}
    scale = max(abs(released[name]) for name in names[:-1])
    for name in names:
        size = released[name] if name == "grad_norm" else scale
        assert abs(float(found[name]) - released[name]) < tolerance * size, name


def _pass(golden: Golden) -> tuple[jax.Array, ...]:
    batch, state = golden.batch(0), golden.state(golden.optimizer())
    x_neg = golden.images("step0/sgld")[-1]
    first = train_step.first_pass(golden.model, state, batch, x_neg, golden.config)
    terms, norm = first.terms, optax.tree.norm(first.grads)
    return (
        terms.log_density_data, terms.log_density_samples, terms.cross_entropy, first.loss, norm
    )  # fmt: skip


def _released(dtype: str) -> Golden:
    """The released SAM run, in a type."""
    golden = Golden(places.GOLDEN / "wrn10_1_cifar10_sam.npz")
    golden.model = golden.model.clone(dtype=jnp.dtype(dtype), param_dtype=jnp.dtype(dtype))
    golden.arrays = {
        name: value.astype(dtype) if value.dtype == np.float64 else value
        for name, value in golden.arrays.items()
    }
    return golden


class Looped:
    """The digits' training in the form for a GPU, from one state."""

    def __init__(self, **overrides: Any) -> None:
        recipe = program.in_gpu_form(recipes.of(models.settings(**overrides)))
        self.run = experiment.build(recipe, loading.load(recipe.spec, "train"))
        self.feed, _ = self.run.feeder.feed(0)
        self.block = runner.program(self.run.step, is_looped=True)

    def steps(self, *counts: int) -> tuple[Any, dict[str, Any]]:
        """Blocks of so many steps, one after another; the state and the last block's metrics."""
        state, metrics = self.run.initial_state(), {}
        for count in counts:
            length = jnp.asarray(count, jnp.int32)
            state, metrics = self.block(state, self.feed, self.run.data, self.run.key, length)
        return state, metrics


def test_steps_do_not_depend_on_their_blocks() -> None:
    """Three steps in one dispatch leave the parameters that three dispatches leave: to the last
    bit on the CPU; on a GPU, whose sums come in any order, to a fifth of what the steps moved.
    """
    looped = Looped()
    start = looped.run.initial_state().params
    one, three = looped.steps(3)[0], looped.steps(1, 1, 1)[0]
    assert int(one.step) == int(three.step) == 3
    moved, between = _largest(one.params, start), _largest(one.params, three.params)
    assert moved > 1e-3 and between <= (0.0 if backend.on_cpu() else 0.2 * moved)


def _largest(one: Any, other: Any) -> float:
    """The largest difference of any parameter."""
    return max(float(jnp.max(jnp.abs(d))) for d in jax.tree.leaves(optax.tree.sub(one, other)))


def test_a_bfloat16_step_is_near_a_float32_one() -> None:
    """From one state and the same draws the losses agree to a hundredth of their size and more."""
    wide, narrow = (Looped(model__dtype=d).steps(1)[1] for d in ("float32", "bfloat16"))
    for name in ("loss", "cross_entropy"):
        a, b = float(wide[name][0]), float(narrow[name][0])
        assert np.isfinite(b) and a != b and abs(a - b) < 0.03 * max(1.0, abs(a)), name


@pytest.mark.skipif(backend.on_cpu(), reason="on the CPU every run is so: see test_resume.py")
def test_a_deterministic_run_is_resumed_to_the_bit(tmp_path: pathlib.Path) -> None:
    """With config.deterministic a run that was stopped in between ends with an unbroken one's
    bits, in processes of their own, where both have the same autotuning.
    """
    flags: dict[str, Any] = {"deterministic": True, "sam__rho": 0.2, "train__num_steps": 14}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    runs.finish(runs.start(runs.command(whole, **flags)))
    broken.mkdir()
    shutil.copy(whole / "autotune.textproto", broken)
    process = runs.start(runs.command(broken, **flags))
    while len(runs.logged_steps(broken)) < 8 and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    runs.finish(runs.start(runs.command(broken, **flags)))
    runs.assert_same_bits(runs.final_state(whole), runs.final_state(broken))


@needs_gpu
def test_the_card_is_known() -> None:
    """The card at hand is one that predictions can be made for, with the memory it tells of."""
    assert cards.target_of(jax.devices()[0].device_kind) is not None
