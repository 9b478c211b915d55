"""Against what the released program computed, in float64.

Files are told by their keys; a missing or empty folder fails.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sadajem_jax import batch_norm, energy, objective, sgld, sharpness_aware, train_step
from sadajem_jax.inference import torch_checkpoint
from sadajem_jax.train_state import TrainState
from sadajem_jax.wide_resnet import WideResNet
from tests import places

pytestmark = [pytest.mark.versions, pytest.mark.gpu]

RTOL = 1e-6


class Golden:
    """One file: its arrays in our layout, and the objects that its settings ask for."""

    def __init__(self, path: pathlib.Path) -> None:
        self.arrays = dict(np.load(path))
        self.meta = json.loads(str(self.arrays["meta"]))
        m = self.meta
        self.model = WideResNet(
            m["depth"], m["width"], m["n_classes"], m["norm"], jnp.float64, jnp.float64
        )
        self.config = train_step.StepConfig(
            kernel=sgld.Langevin(m["sgld_lr"], m["sgld_std"], m["clip"]),
            num_steps=m["K"],
            unroll=True,
            num_shards=1,
            weights=objective.Weights(l2=m["l2"]),
            pad=4,
            flip=True,
        )

    def images(self, name: str) -> jax.Array:
        """An array of images, NHWC."""
        return jnp.asarray(np.moveaxis(self.arrays[name], -3, -1))

    def variables(self, prefix: str) -> Any:
        """The state dict under a prefix, as our variables."""
        names = [name for name in self.arrays if name.startswith(prefix + "/")]
        return torch_checkpoint.from_state_dict(
            {name.removeprefix(prefix + "/"): self.arrays[name] for name in names}
        )

    def batch(self, step: int) -> train_step.Batch:
        """The inputs of one training step."""
        x_data = self.images(f"step{step}/x_data")
        return train_step.Batch(
            x_data=x_data,
            x_init=self.images(f"step{step}/x_init"),
            x_label=self.images(f"step{step}/x_label"),
            labels=jnp.asarray(self.arrays[f"step{step}/y_label"]),
            noise_keys=jax.random.split(jax.random.key(0), len(x_data)),
        )

    def state(self, tx: optax.GradientTransformation) -> TrainState:
        """Where the file's training steps begin."""
        start = jax.tree.map(jnp.asarray, self.variables("train"))
        params = start["params"]
        zero = jnp.zeros((), jnp.int32)
        return TrainState(zero, params, start["batch_stats"], tx.init(params), jnp.zeros((0, 1)))

    def optimizer(self) -> optax.GradientTransformationExtraArgs:
        """The released optimizer with this file's learning rates."""
        m = self.meta
        rates = jnp.asarray([self.arrays[f"step{s}/lr"] for s in range(m["steps"])])
        return optax.chain(
            sharpness_aware.sam(m["rho"], adaptive=m["adaptive"]),
            optax.add_decayed_weights(m["weight_decay"]),
            optax.sgd(lambda count: rates[count], momentum=m["momentum"]),
        )


def assert_close(ours: Any, theirs: Any, what: str) -> None:
    """Relative to the largest magnitude of each array."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    assert np.abs(ours - theirs).max() <= RTOL * max(np.abs(theirs).max(), 1e-12), what


def assert_trees_close(ours: Any, theirs: Any, what: str) -> None:
    """Every leaf of two trees of the same structure."""
    assert len(jax.tree.leaves(ours)) == len(jax.tree.leaves(theirs)), what
    for path, leaf in jax.tree_util.tree_leaves_with_path(theirs):
        mine = ours
        for key in path:
            mine = mine[key.key]
        assert_close(mine, leaf, f"{what}{jax.tree_util.keystr(path)}")


@pytest.fixture(
    params=places.golden_files("step0/x_data"), ids=lambda path: path.stem if path else "none"
)
def golden(request: pytest.FixtureRequest) -> Any:
    """Every file of the folder in turn, in double precision; none is a failure."""
    if request.param is None:
        pytest.fail(f"expected *.npz with training steps in {places.GOLDEN}, found none")
    with jax.enable_x64(True):
        yield Golden(request.param)


def test_evaluation_mode(golden: Golden) -> None:
    """Logits, log-density and score in evaluation mode are the released network's."""
    variables, x = golden.variables("init"), golden.images("eval/x")

    def log_density(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits: Any = golden.model.apply(variables, x)
        return energy.log_density(logits), logits

    score, (lse, logits) = jax.jit(lambda x: sgld.score(log_density, x))(x)
    assert_close(logits, golden.arrays["eval/logits"], "logits")
    assert_close(lse, golden.arrays["eval/lse"], "lse")
    assert_close(score, golden.images("eval/score"), "score")


def test_training_mode_forward(golden: Golden) -> None:
    """A training-mode forward gives the released logits, and its moments move the statistics so."""
    variables = jax.tree.map(jnp.asarray, golden.variables("init"))
    run = jax.jit(lambda x: batch_norm.forward(golden.model, variables, x))
    logits, moments = run(golden.images("eval/x"))
    assert_close(logits, golden.arrays["train_logits"], "logits")
    old = variables["batch_stats"]
    moved = batch_norm.fold_statistics(old, moments)
    assert_trees_close(moved, golden.variables("train")["batch_stats"], "batch_stats")


def test_chain_states(golden: Golden) -> None:
    """Every state of the SGLD chain, the clip in force, is the released one, looped or unrolled."""
    batch, variables = golden.batch(0), golden.variables("train")
    theirs = golden.images("step0/sgld")

    def chain(x: jax.Array, config: train_step.StepConfig) -> jax.Array:
        return train_step.negative_samples(
            golden.model, variables, batch._replace(x_init=x), config
        )[0]

    one_step = jax.jit(lambda x: chain(x, golden.config._replace(num_steps=1)))
    x = batch.x_init
    for k, state in enumerate(theirs):
        x = one_step(x)
        assert_close(x, state, f"state {k + 1}")
    looped = jax.jit(lambda x: chain(x, golden.config._replace(unroll=False)))
    assert_close(looped(batch.x_init), theirs[-1], "the loop's last state")


def test_sharpness_aware_pass(golden: Golden) -> None:
    """Losses of both passes, SAM's norm and the perturbed parameters are the released ones."""
    state, batch = golden.state(golden.optimizer()), golden.batch(0)
    x_neg = golden.images("step0/sgld")[-1]
    m = golden.meta

    @jax.jit
    def run(params: Any) -> Any:
        here = state.replace(params=params)
        first = train_step.first_pass(golden.model, here, batch, x_neg, golden.config)
        return first.grads, first.loss, first.terms

    grads, loss, terms = run(state.params)
    _, info, _ = sharpness_aware.sam_gradient(
        state.params, grads, lambda params: run(params)[0], m["rho"], adaptive=m["adaptive"]
    )
    found = {
        "f_data": terms.log_density_data,
        "f_sample": terms.log_density_samples,
        "ce": terms.cross_entropy,
        "first_loss": loss,
        "grad_norm": info.norm,
        "second_loss": run(info.perturbed)[1],
    }
    for name, value in found.items():
        assert_close(value, golden.arrays[f"step0/{name}"], name)
    assert_trees_close(info.perturbed, golden.variables("step0/perturbed")["params"], "perturbed")


def test_training_steps(golden: Golden) -> None:
    """Parameters and running statistics after every step of the file are the released ones."""
    tx = golden.optimizer()
    state = golden.state(tx)
    run = jax.jit(
        lambda state, batch: train_step.update(
            state, batch, model=golden.model, tx=tx, config=golden.config
        )
    )
    for s in range(golden.meta["steps"]):
        state, x_neg, _ = run(state, golden.batch(s))
        after = golden.variables(f"step{s}/after")
        assert_close(x_neg, golden.images(f"step{s}/sgld")[-1], "x_neg")
        assert_trees_close(state.params, after["params"], f"step {s} params")
        assert_trees_close(state.batch_stats, after["batch_stats"], f"step {s} batch_stats")


def test_state_dict_round_trip(golden: Golden) -> None:
    """The mapping to our variables and back loses nothing but what the network never uses."""
    back = torch_checkpoint.to_state_dict(golden.variables("init"))
    for name, value in back.items():
        np.testing.assert_array_equal(value, golden.arrays[f"init/{name}"])
    unused = ("energy_output", "num_batches_tracked")
    names = {n.removeprefix("init/") for n in golden.arrays if n.startswith("init/")}
    assert {n for n in names if not any(u in n for u in unused)} == set(back)
