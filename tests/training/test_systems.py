"""Every system of the paper trains by its config and the one step, on a network of few weights."""

from __future__ import annotations

import functools
import json
import pathlib
import shutil
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import main
from sadajem_jax import energy, replay_buffer, train_step
from sadajem_jax.batch_norm import BatchNorm, fold_statistics, forward
from sadajem_jax.cli import config as config_files
from sadajem_jax.data import loading
from sadajem_jax.evaluation import flops
from sadajem_jax.further_terms import Drawn, Term
from sadajem_jax.row_groups import Groups
from sadajem_jax.train_state import TrainState
from sadajem_jax.training import experiment, recipes
from sadajem_jax.training.experiment import Experiment
from tests import models, runs

pytestmark = pytest.mark.usefixtures("compiled_in_haste")

NAMES = list(config_files.systems())
WITHOUT_PX = {"softmax", "softmax_sam", "softmax_no_bn"}
SMALL = {
    "sgld.num_steps": 1,
    "buffer.size": 40,
    "train.batch_size_px": 8,
    "train.batch_size_label": 16,
    "train.num_steps": 100,
}


class Tiny(nn.Module):
    """A convolution, a norm or none, and a linear layer: compiled in no time."""

    norm: str
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, groups: Groups = ()) -> jax.Array:
        """[B, H, W, channels] -> [B, 10]."""
        x = nn.Conv(4, (3, 3), 2)(x)
        x = BatchNorm(name="bn")(x, train, groups) if self.norm == "batch" else x
        return nn.Dense(10)(nn.leaky_relu(x).reshape(len(x), -1))


def config_of(name: str, **overrides: Any) -> ConfigDict:
    """A system's config on the digits, small; a double underscore for the dot."""
    config = config_files.load(f"configs/digits.py:{name}")
    fields = SMALL | {field.replace("__", "."): value for field, value in overrides.items()}
    config_files.override(config, {field: str(value) for field, value in fields.items()})
    return config


@functools.cache
def made(name: str, further: tuple[Term, ...] = (), **overrides: Any) -> Experiment:
    """The run of a system on the digits, with the tiny network in place of its own."""
    config = config_of(name, **overrides)
    recipe = recipes.of(config)
    network: Any = Tiny(config.model.norm)
    constants = recipe.constants._replace(further=further)
    images = loading.load(recipe.spec, "train")
    return experiment.build(recipe._replace(network=network, constants=constants), images)


QUICKLY: Any = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def one_step(run: Experiment) -> Any:
    """A run's step, compiled in half the time that a program to be used for long takes."""
    return jax.jit(run.step, compiler_options=QUICKLY)


def inputs(run: Experiment) -> tuple[TrainState, train_step.Feed, train_step.Batch, Any]:
    """(first state, feed, batch of the first step, slots), compiled: op by op it takes longer."""
    state, (feed, _) = run.initial_state(), run.feeder.feed(0)
    config = run.step.keywords["config"]  # type: ignore[attr-defined]

    def assembled(state: TrainState, feed: train_step.Feed) -> Any:
        return train_step.assemble(state, feed, run.data, run.key, config)

    return state, feed, *jax.jit(assembled, compiler_options=QUICKLY)(state, feed)


def two_steps(run: Experiment) -> tuple[TrainState, TrainState, dict[str, jax.Array]]:
    """(state before, state after two steps, metrics of the second)."""
    first = run.initial_state()
    feed, _ = run.feeder.feed(0)
    step = one_step(run)
    state, _ = step(first, feed, run.data, run.key)
    return first, *step(state, feed, run.data, run.key)


@pytest.mark.parametrize("name", NAMES)
def test_every_system_trains(name: str) -> None:
    """Two steps leave finite parameters that have moved; without p(x) the buffer stays as it was.

    Only JEM's images leave [-1, 1]; what is told of log-densities is told where there is a p(x)
    term alone.
    """
    first, last, metrics = two_steps(made(name))
    assert int(last.step) == 2 and all(np.isfinite(value) for value in metrics.values())
    for before, after in zip(*(jax.tree.leaves(s.params) for s in (first, last)), strict=True):
        assert np.isfinite(after).all() and (before != after).any()
    has_px = name not in WITHOUT_PX
    assert ("log_density_gap" in metrics) == ("px_term" in metrics) == has_px
    changed = int(np.any(first.buffer != last.buffer, axis=(1, 2, 3)).sum())
    assert (8 <= changed <= 16) if has_px else changed == 0
    assert (np.abs(last.buffer).max() > 1) == (name in {"jem", "jem_sam"})
    assert bool(last.batch_stats) == (name not in {"jem", "jem_sam", "igebm", "softmax_no_bn"})


def test_the_bounds_are_jem_s_alone() -> None:
    """JEM's chains have no bounds, no clip and noise; JEM++'s have the paper's kernel."""
    jem, jempp = (
        recipes.of(config_files.load(f"configs/digits.py:{name}")).constants.kernel
        for name in ("jem", "jempp")
    )
    assert jem.bounds == (-np.inf, np.inf) and jem.grad_clip == np.inf and jem.noise_std == 0.01
    assert jempp.bounds == (-1, 1) and jempp.grad_clip == 1 and jempp.noise_std == 0


# ---- what a classifier costs


def counted(run: Experiment) -> int:
    """Operations of a run's step, read from its traced program."""
    state, (feed, _) = jax.eval_shape(run.initial_state), run.feeder.feed(0)
    return flops.count(run.step, state, feed, run.data, run.key).flop


def labelled_pass(run: Experiment, passes: int = 1) -> int:
    """Operations of the cross-entropy's gradient on the labelled batch, `passes` times.

    And of its moments' fold into the running statistics, which is a product of two numbers each.
    """
    state = jax.eval_shape(run.initial_state)
    images = jax.ShapeDtypeStruct((16, 8, 8, 1), jnp.float32)

    def loss(params: Any, x: jax.Array) -> jax.Array:
        variables = {"params": params, "batch_stats": jax.tree.map(jnp.zeros_like, stats)}
        logits, _ = forward(run.model, variables, x)
        return energy.cross_entropy(logits, jnp.zeros(16, int)).mean()

    stats = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), state.batch_stats)
    size = sum(leaf.size for leaf in jax.tree.leaves(stats))
    fold = flops.count(lambda m: fold_statistics(stats, m), jnp.zeros((1, size))).flop
    return passes * flops.count(jax.grad(loss), state.params, images).flop + fold


@pytest.mark.parametrize(
    ("name", "passes"), [("softmax", 1), ("softmax_no_bn", 1), ("softmax_sam", 2)]
)
def test_a_classifier_s_step_is_its_labelled_pass(name: str, passes: int) -> None:
    """A classifier's step has the operations of one labelled pass, with SAM of two: no chain."""
    assert counted(made(name)) == labelled_pass(made(name), passes)


def test_so_is_any_system_s_without_weight_of_p_of_x() -> None:
    """px_weight = 0 takes chain and p(x) passes out of SADA-JEM's step too, and K does not count.

    With its weight the same step has more operations, and more with a longer chain.
    """
    off = made("sadajem", objective__px_weight=0.0)
    assert counted(off) == labelled_pass(off, 2)
    short, long = made("sadajem"), made("sadajem", sgld__num_steps=2)
    assert counted(off) < counted(short) < counted(long)


# ---- p(x | y)


def test_igebm_s_chains_have_the_classes_of_their_slots() -> None:
    """Each chain has the class of its slot, slot mod C, and each image of p(x | y) its own."""
    run = made("igebm")
    _, feed, batch, slots = inputs(run)
    np.testing.assert_array_equal(batch.chain_labels, np.asarray(slots) % 10)
    np.testing.assert_array_equal(batch.data_labels, run.data.labels[feed.px_index[0]])
    images = np.asarray(run.data.images[feed.px_index[0]], np.float32)
    inside = (np.asarray(batch.x_data) + 1) * 128 - images  # dequantised: within its 256th part
    assert inside.min() >= -1e-4 and inside.max() <= 1 + 1e-4 and inside.std() > 0.2


def test_igebm_s_chains_follow_their_class() -> None:
    """A chain's first score is that of f(x)[y], y its slot's class, not that of log p(x)."""
    run = made("igebm")
    state, _, batch, _ = inputs(run)
    config = run.step.keywords["config"]  # type: ignore[attr-defined]
    quiet = config._replace(kernel=config.kernel._replace(noise_std=0.0))
    x_neg, _ = train_step.negative_samples(run.model, state.variables, batch, quiet)

    def of_class(x: jax.Array) -> jax.Array:
        logits: Any = run.model.apply(state.variables, x)
        return energy.joint_log_density(logits, batch.chain_labels).sum()

    moved = batch.x_init + 40 * np.clip(jax.grad(of_class)(batch.x_init), -0.005, 0.005)
    np.testing.assert_allclose(x_neg, np.clip(moved, -1, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "batch_norm"), [("igebm", "train"), ("sadajem", "train"), ("sadajem", "eval")]
)
def test_new_images_come_from_the_chain_that_trained(name: str, batch_norm: str) -> None:
    """The generator's chain without a label or a mode is training's: its classes, its norm."""
    overrides = {"sgld__num_steps": 2, "sgld__batch_norm": batch_norm}
    run = made(name, **overrides)
    state, _, batch, _ = inputs(run)
    config = run.step.keywords["config"]  # type: ignore[attr-defined]
    if name == "igebm":  # the first slots, as the rows of a new group
        batch = batch._replace(chain_labels=replay_buffer.classes(jnp.arange(8), 10))
    trained, _ = train_step.negative_samples(run.model, state.variables, batch, config)
    settings = config_of(name, **overrides)
    model = models.model_of(settings, state.variables, state.buffer, run.model)
    *_, (done, drawn) = model.chain(batch.noise_keys, batch.x_init, num_steps=2)
    np.testing.assert_allclose(drawn, trained, atol=1e-5)
    other = {"train": "eval", "eval": "train"}[batch_norm]
    *_, (_, apart) = model.chain(batch.noise_keys, batch.x_init, 3, 2, other)
    assert done == 2 and np.abs(apart - trained).max() > 1e-4


# ---- streams and passes


def test_the_streams_are_augmented_each_by_its_own_options() -> None:
    """JEM++ augments both streams, with noise; without DA the p(x) stream is the images."""
    for name, px_is_plain in (("sadajem", True), ("jempp", False), ("jempp_no_da", True)):
        run = made(name)
        _, feed, batch, _ = inputs(run)
        bytes_of = [np.asarray(x + 1) * 127.5 for x in (batch.x_data, batch.x_label)]
        px_off, label_off = (np.abs(b - np.rint(b)).max() for b in bytes_of)
        plain = np.asarray(run.data.images[feed.px_index[0]], np.float32)
        assert (np.abs(bytes_of[0] - plain).max() < 1e-3) == px_is_plain == (px_off < 1e-3)
        assert (label_off > 1e-2) == (name != "sadajem")  # noise is between the bytes


def test_a_chain_in_evaluation_mode_moves_no_statistics() -> None:
    """With sgld.batch_norm = eval the statistics are folded from data, negatives and labelled only.

    A chain in training mode leaves others.
    """
    for mode, is_so in (("eval", True), ("train", False)):
        run = made("sadajem", sgld__batch_norm=mode)
        state, feed, batch, slots = inputs(run)
        after, _ = one_step(run)(state, feed, run.data, run.key)
        expected = state.batch_stats["bn"]["mean"]
        for x in (batch.x_data, after.buffer[slots], batch.x_label):
            moments = forward(run.model, state.variables, x)[1]
            expected = 0.1 * expected + 0.9 * moments[0, : len(expected)]
        apart = np.abs(after.batch_stats["bn"]["mean"] - expected).max()
        assert (apart < 1e-6) if is_so else (apart > 1e-5), (mode, apart)


def test_a_further_term_is_in_the_loss_and_in_the_statistics() -> None:
    """A drawn term adds its weighted loss, has its metric, and its forward moves the statistics.

    Before the labelled batch: a hundredth of its moments remains in them.
    """
    term = Term(
        "dark",
        lambda key, network, batch: Drawn(jnp.full((8, 8, 8, 1), -1.0), jnp.arange(8)),
        lambda logits, labels: jnp.mean(energy.cross_entropy(logits, labels)),
    )
    runs_of = [
        made("softmax"),
        made("softmax", (term,)),
        made("softmax", (term,), objective__further_weight=0.0),
    ]
    after = []
    for run in runs_of:
        feed, _ = run.feeder.feed(0)
        after.append(one_step(run)(run.initial_state(), feed, run.data, run.key))
    (plain, without), (_, added), (weightless, told) = after
    assert "dark" not in without and added["dark"] > 0 and told["dark"] == added["dark"]
    np.testing.assert_allclose(added["loss"], without["loss"] + added["dark"], rtol=1e-5)
    np.testing.assert_allclose(told["loss"], without["loss"], rtol=1e-6)
    params = made("softmax").initial_state().params
    dark = params["Conv_0"]["bias"] - params["Conv_0"]["kernel"].sum(axis=(0, 1, 2))
    before, moved = (s.batch_stats["bn"]["mean"] for s in (plain, weightless))
    # old / 10 + 9/10 label without it; old / 100 + 9/100 dark + 9/10 label with it, old being 0
    assert np.abs(moved - before).max() > 1e-3
    inner = (moved - before) / 0.09  # the mean of its forward, borders seeing less of the dark
    assert np.sign(inner[np.abs(dark) > 0.5]).tolist() == np.sign(dark[np.abs(dark) > 0.5]).tolist()


@pytest.mark.parametrize(("images", "labels"), [(7, 7), (8, 4)])
def test_a_further_term_s_images_must_fit_the_parts(images: int, labels: int) -> None:
    """Seven images in two parts, or eight of four labels, are refused by the term's name."""
    drawn = Drawn(jnp.zeros((images, 8, 8, 1)), jnp.zeros(labels, int))
    term = Term("odd", lambda *_: drawn, lambda logits, labels: jnp.mean(logits))
    run = made("softmax", (term,), train__micro_batches=2)
    state, _, batch, _ = inputs(run)
    config = run.step.keywords["config"]  # type: ignore[attr-defined]
    said = f"'odd' drew {images} images and {labels} labels"
    with pytest.raises(ValueError, match=said):
        train_step.further_images(run.model, state.variables, batch, config)


# ---- by main


@pytest.mark.parametrize("name", ["igebm", "softmax_no_bn"])
def test_a_system_goes_on_to_the_bit(name: str, tmp_path: pathlib.Path) -> None:
    """By main a run of another system, cut back to its middle, goes on to the same bits.

    A classifier draws no grids of a buffer that never changes.
    """
    argv = runs.command(tmp_path, train__num_steps=4, checkpoint__every_steps=2)
    argv[0] = f"--config=configs/digits.py:{name}"
    assert main.main(argv) == 0
    assert json.loads((tmp_path / "config.json").read_text())["system"] == name
    whole = runs.final_state(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "4")
    (tmp_path / "metrics.json").unlink()
    assert main.main(argv) == 0
    runs.assert_same_bits(runs.final_state(tmp_path), whole)
    assert runs.logged_steps(tmp_path) == [1, 2, 3, 4]
    assert (tmp_path / "samples").exists() == (name not in WITHOUT_PX)
