"""Nonsense is refused in one line: by a table, and by a fuzz that finds its own."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import main
from sadajem_jax.training import experiment, train
from tests import runs

DIGITS = "--config=configs/digits.py"

# (arguments, what the line must hold): {tmp} is an empty folder, {file} a file in it
TABLE: list[tuple[list[str], list[str]]] = [
    (["--workdir={tmp}/x"], ["--config=FILE", "configs/cifar10.py", "configs/digits.py"]),
    (["--config=configs/cifar11.py"], ["configs/cifar11.py", "did you mean configs/cifar10.py"]),
    (["--config=configs/digits.py:jemm"], ["no system 'jemm'"]),
    (["--config=configs/digits.py:JEM"], ["no system 'JEM'", "did you mean jem?"]),
    (["--config=digits"], ["no config file 'digits'", "did you mean configs/digits.py?"]),
    (["--config={file}"], ["get_config"]),
    (["--config="], ["--config=FILE"]),
    ([DIGITS, "extra"], ["stray argument 'extra'", "--help lists them"]),
    ([DIGITS, "-x"], ["stray argument '-x'"]),
    ([DIGITS, "--wokdir=x"], ["--wokdir", "did you mean --workdir"]),
    (["--hlep"], ["--hlep", "did you mean --help"]),
    ([DIGITS, "--eval.only=ood"], ["--eval.only", "did you mean --config.eval.only?"]),
    ([DIGITS, "--num_step=5"], ["--num_step", "did you mean --num_steps?"]),
    ([DIGITS, "--seed=3"], ["--seed belongs to --mode=sample", "did you mean --config.seed?"]),
    ([DIGITS, "--workdir"], ["--workdir needs a value"]),
    ([DIGITS, DIGITS], ["--config is given twice"]),
    ([DIGITS, "--mode=trian"], ["--mode", "'trian'", "did you mean train"]),
    ([DIGITS, "--workdir={file}"], ["--workdir must be a folder"]),
    ([DIGITS, "--workdir={file}/below"], ["--workdir", "cannot be written"]),
    ([DIGITS, "--workdir=/proc/nowhere"], ["--workdir", "cannot be written"]),
    ([DIGITS, "--config.sgld.num_step=5"], ["config.sgld.num_step", "config.sgld.num_steps"]),
    ([DIGITS, "--config.num_steps=5"], ["did you mean config.", "config.train.num_steps?"]),
    ([DIGITS, "--config.sgld=5"], ["config.sgld", "sgld.num_steps"]),
    ([DIGITS, "--config.model.depht=16"], ["did you mean config.model.depth"]),
    ([DIGITS, "--config.train.batch_size=8"], ["did you mean config.train.batch_size_"]),
    ([DIGITS, "--config.train.lr=0.1"], ["config.train has", "learning_rate", "momentum"]),
    ([DIGITS, "--config.lr=0.1"], ["its sections are", "sgld, train", "configs/cifar10.py"]),
    ([DIGITS, "--config.seed=1", "--config.seed=2"], ["--config.seed is given twice: '1' and '2'"]),
    ([DIGITS, "--config.eval.ood=svnh"], ["config.eval.ood", "did you mean svhn_cropped?", "inve"]),
    ([DIGITS, "--config.eval.images=fesh"], ["config.eval.images", "did you mean fresh?"]),
    ([DIGITS, "--config.eval.features=resnet"], ["efficientnet_lite0, folders of runs"]),
    ([DIGITS, "--mode=plan", "--device=h10"], ["--device", "b200", "did you mean h100?"]),
    ([DIGITS, "--config.sgld.num_steps=five"], ["config.sgld.num_steps", "whole number", "'five'"]),
    ([DIGITS, "--config.sgld.num_steps=2.5"], ["whole number", "'2.5'"]),
    ([DIGITS, "--config.sgld.num_steps=-1"], ["at least 0", "-1"]),
    ([DIGITS, "--config.sgld.step_size=0"], ["config.sgld.step_size", "above 0"]),
    ([DIGITS, "--config.sgld.step_size=nan"], ["config.sgld.step_size", "nan"]),
    ([DIGITS, "--config.sgld.noise_std=-0.1"], ["config.sgld.noise_std", "at least 0"]),
    ([DIGITS, "--config.sgld.grad_clip=0"], ["config.sgld.grad_clip", "above 0"]),
    ([DIGITS, "--config.sgld.init=informativ"], ["did you mean informative"]),
    ([DIGITS, "--config.model.depth=12"], ["config.model.depth", "6 n + 4", "12"]),
    ([DIGITS, "--config.model.depth=4"], ["config.model.depth", "6 n + 4"]),
    ([DIGITS, "--config.model.width=0"], ["config.model.width", "at least 1"]),
    ([DIGITS, "--config.model.norm=layer"], ["config.model.norm", "batch or none"]),
    ([DIGITS, "--config.model.dtype=float16"], ["float32 or bfloat16", "'float16'"]),
    ([DIGITS, "--config.sam.rho=-0.2"], ["config.sam.rho", "at least 0"]),
    ([DIGITS, "--config.sam.rho=inf"], ["config.sam.rho", "finite"]),
    ([DIGITS, "--config.sam.adaptive=maybe"], ["config.sam.adaptive", "True or False"]),
    ([DIGITS, "--config.buffer.size=0"], ["config.buffer.size", "at least 1"]),
    ([DIGITS, "--config.buffer.size=1001"], ["multiple of 40", "num_shards = 8"]),
    (
        [DIGITS, "--config.buffer.size=1004", "--config.buffer.num_shards=4"],
        ["of 20", "10 classes"],
    ),
    (
        [DIGITS, "--config.buffer.size=40", "--config.train.batch_size_px=48"],
        ["config.buffer.size", "at least the batch"],
    ),
    ([DIGITS, "--config.buffer.num_shards=7"], ["config.buffer", "7"]),
    ([DIGITS, "--config.buffer.reinit_prob=1.5"], ["probability from 0 to 1", "1.5"]),
    ([DIGITS, "--config.train.batch_size_px=0"], ["config.train.batch_size_px", "at least 1"]),
    ([DIGITS, "--config.train.batch_size_px=1600"], ["config.train.batch_size_px", "1,500"]),
    ([DIGITS, "--config.train.batch_size_label=1501"], ["batch_size_label", "1,500"]),
    ([DIGITS, "--config.train.batch_size_px=36"], ["multiple of buffer.num_shards (8)"]),
    ([DIGITS, "--config.train.micro_batches=3"], ["multiple of micro_batches (3)"]),
    ([DIGITS, "--config.model.norm_groups=0"], ["config.model.norm_groups", "at least 1"]),
    ([DIGITS, "--config.model.norm_groups=3"], ["batch_size_px", "multiple of 3 (model.norm_gr"]),
    ([DIGITS, "--config.train.learning_rate=0"], ["config.train.learning_rate", "above 0"]),
    ([DIGITS, "--config.train.schedule=linear"], ["config.train.schedule", "steps or cosine"]),
    ([DIGITS, "--config.train.momentum=1"], ["config.train.momentum", "below 1"]),
    ([DIGITS, "--config.train.ema_decay=1"], ["config.train.ema_decay", "below 1"]),
    ([DIGITS, "--config.train.on_divergence=stop"], ["retry or double_steps"]),
    ([DIGITS, "--config.checkpoint.keep=2"], ["config.checkpoint.keep", "max_restarts"]),
    ([DIGITS, "--config.data.name=cifar"], ["config.data.name", "did you mean cifar10"]),
    ([DIGITS, "--config.data.val_size=1500"], ["config.data.val_size", "below 1,500"]),
    ([DIGITS, "--config.data.flip=True"], ["config.data.flip must be False for digits"]),
    ([DIGITS, "--config.data.px_flip=True", "--mode=plan"], ["config.data.px_flip must be False"]),
    (["--config=configs/digits.py:softmx"], ["did you mean softmax", "jempp_no_da_l2"]),
    (["--config=configs/digits.py:"], ["no system ''", "jempp_no_da_l2"]),
    ([DIGITS, "--config.data.px_flip=True"], ["config.data.px_flip must be False for digits"]),
    ([DIGITS, "--config.data.px_pad=8"], ["config.data.px_pad", "< 8"]),
    ([DIGITS, "--config.train.optimizer=adm"], ["sgd or adam", "did you mean adam"]),
    ([DIGITS, "--config.train.milestones=0.6,0.3"], ["config.train.milestones", "rising"]),
    ([DIGITS, "--config.train.epoch_of=both"], ["label or px"]),
    ([DIGITS, "--config.objective.l2_form=mean"], ["squared_mean or mean_square"]),
    ([DIGITS, "--config.objective.class_conditional=True"], ["config.sgld.init", "uniform"]),
    (
        [DIGITS, "--config.objective.px_weight=0", "--config.objective.pyx_weight=0"],
        ["config.objective.pyx_weight", "px_weight is 0"],
    ),
    ([DIGITS, "--config.train.num_epochs=2"], ["num_epochs is given", "num_steps=0"]),
    ([DIGITS, "--config.data.pad=8"], ["config.data.pad", "< 8"]),
    ([DIGITS, "--config.eval.only=accuracy,odd"], ["config.eval.only", "did you mean ood"]),
    ([DIGITS, "--config.eval.only=ood,accuracy,ood"], ["config.eval.only lists ood twice"]),
    (
        [
            DIGITS,
            "--config.eval.purification.preset=hill",
            "--config.eval.purification.num_steps=10",
        ],
        ["config.eval.purification.num_steps is given", "preset = hill sets it", "images counts"],
    ),
    ([DIGITS, "--config.eval.features=W2,W2"], ["config.eval.features lists W2 twice"]),
    ([DIGITS, "--config.eval.images=buffer,buffer"], ["config.eval.images lists buffer twice"]),
    ([DIGITS, "--config.eval.landscape.eigenvalues=7"], ["at most", "lanczos_steps (6)", "7"]),
    ([DIGITS, "--config.eval.checkpoint=first"], ["config.eval.checkpoint", "last, best"]),
    ([DIGITS, "--config.eval.checkpoint=best", "--workdir={tmp}/w"], ["best", "data.val_size"]),
    ([DIGITS, "--config.seed=-1"], ["config.seed", "2^31 - 1"]),
    (
        [DIGITS, "--config.init_from={tmp}/none", "--workdir={tmp}/v"],
        ["config.init_from must be a run's folder"],
    ),
    (["--config=configs/cifar10.py", "--config.data.data_dir={tmp}/none"], ["no folder"]),
    ([DIGITS, "--mode=sample", "--n=0", "--workdir={tmp}/x"], ["--n must be"]),
    (["--mode=eval", "--workdir={tmp}/x"], ["config.json", "{tmp}/x"]),
]


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything compiled or trained is a failure: nonsense is refused before."""

    def fail(*args: Any) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(train, "loop", fail)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(("argv", "words"), TABLE, ids=lambda part: " ".join(part)[-60:])
def test_refused_in_one_line(
    argv: list[str], words: list[str], tmp_path: pathlib.Path, capsys: Any, monkeypatch: Any
) -> None:
    """Bad input gives one line that names the field, what was found and what is allowed."""
    (tmp_path / "file.py").write_text("x = 1\n")
    places = {"tmp": tmp_path / "folder", "file": tmp_path / "file.py"}
    places["tmp"].mkdir()
    monkeypatch.setattr(
        "sadajem_jax.cli.main.default_workdir", lambda spec: str(tmp_path / "default")
    )
    assert main.main([word.format(**places) for word in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    for word in words:
        assert word.format(**places) in error


VALUES = st.one_of(
    st.integers(-2, 70).map(str),
    st.floats(-2, 2).map(str),
    st.sampled_from(["nan", "inf", "", "True", "none", "batch", "steps", "cosine", "1e9", "x,y"]),
)
# Fields whose values do not change a compiled shape, so that a run of a step is quick.
QUICK = [
    "sgld.step_size", "sgld.noise_std", "sgld.grad_clip", "buffer.reinit_prob", "seed",
    "objective.px_weight", "objective.pyx_weight", "objective.l2_coeff", "sam.rho",
    "train.learning_rate", "train.momentum", "train.weight_decay", "train.schedule",
    "train.max_restarts", "train.on_divergence", "train.ema_decay", "data.pad", "sam.adaptive",
    "eval.every_epochs", "data.val_size", "model.norm", "sgld.init",
]  # fmt: skip


@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(fields=st.dictionaries(st.sampled_from([*QUICK, "no.such"]), VALUES, min_size=1, max_size=3))
def test_fuzzed_overrides(
    fields: dict[str, str], tmp_path_factory: Any, capsys: Any, monkeypatch: Any
) -> None:
    """Whatever is given to fields, main has a step that traces, or refuses it in one line."""
    begun = []

    def trace(job: train.Job) -> None:
        made = experiment.build(job.recipe, job.images)
        state = jax.eval_shape(made.initial_state)
        feed, _ = made.feeder.feed(0)
        after, _ = jax.eval_shape(made.step, state, feed, made.data, made.key)
        assert str(jax.tree.structure(after)) == str(jax.tree.structure(state))
        begun.append(job)

    monkeypatch.setattr(train, "run", trace)
    flags = [f"--config.{name}={value}" for name, value in fields.items()]
    status = main.main([*runs.command(tmp_path_factory.mktemp("fuzz")), *flags])
    error = capsys.readouterr().err
    assert (status, len(begun)) == (0, 1) or (status == 2 and error.startswith("error: "))
    assert error.count("\n") == (status == 2)
