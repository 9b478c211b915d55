"""Checkpoints: nothing is lost, and a damaged one is never taken for a good one."""

from __future__ import annotations

import logging
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sadajem_jax.console import processes
from sadajem_jax.console.errors import UserError
from sadajem_jax.train_state import TrainState
from sadajem_jax.workdir import checkpoint, state_format
from sadajem_jax.workdir.checkpoint import Checkpoints, Damaged
from sadajem_jax.workdir.state_format import checksum

# Where tensorstore fails to read, its threads tell an event loop that orbax has already closed.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

STEPS = (10, 20)


def state_at(step: int) -> TrainState:
    """A small state with everything that a real one has: momentum, counters, bfloat16, a buffer."""
    keys = jax.random.split(jax.random.key(step), 3)
    params = {
        "conv": {"kernel": jax.random.normal(keys[0], (3, 3, 4, 8)), "bias": jnp.zeros(8)},
        "half": jax.random.normal(keys[1], (7,)).astype(jnp.bfloat16),
    }
    tx = optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(optax.constant_schedule(0.1), 0.9))
    _, opt_state = tx.update(params, tx.init(params), params)
    statistics = {"bn": {"mean": jnp.array([jnp.pi, -0.0]), "var": jnp.array([1e-30, 3e38])}}
    buffer = jax.random.uniform(keys[2], (20, 8, 8, 1), minval=-1, maxval=1)
    return TrainState(jnp.asarray(step, jnp.int32), params, statistics, opt_state, buffer)


def like() -> Any:
    """Shapes and dtypes of the state."""
    return jax.eval_shape(lambda: state_at(0))


def assert_same_bits(found: Any, expected: Any) -> None:
    """Same structure, dtypes, shapes and bytes."""

    def same(a: Any, b: Any) -> None:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()

    jax.tree.map(same, found, expected)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with two checkpoints; tests that change it change a copy."""
    folder = tmp_path_factory.mktemp("written") / "checkpoints"
    checkpoints = Checkpoints(folder)
    for step in STEPS:
        checkpoints.save(step, state_at(step), accuracy=step / 100)
    checkpoints.close()
    return folder


@pytest.fixture
def copied(written: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the folder, to be damaged."""
    return shutil.copytree(written, tmp_path / "checkpoints")


def restore_last(folder: pathlib.Path) -> tuple[int, Any] | None:
    """What a new process finds."""
    checkpoints = Checkpoints(folder, read_only=True)
    try:
        return checkpoints.restore_last(like())
    finally:
        checkpoints.close()


def by_size(folder: pathlib.Path) -> list[pathlib.Path]:
    """Files of a folder and its folders, the largest first."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: (-path.stat().st_size, str(path)))


def flip(path: pathlib.Path, place: float) -> None:
    """Turns one byte, `place` of the way through a file, into another."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 0x55
    path.write_bytes(content)


def test_what_is_restored_is_what_was_saved_to_the_bit(written: pathlib.Path) -> None:
    """Every leaf of each step comes back with its dtype and bytes, and so do the notes."""
    checkpoints = Checkpoints(written, read_only=True)
    assert checkpoints.steps() == list(STEPS)
    for step in STEPS:
        assert_same_bits(checkpoints.restore(step, like()), state_at(step))
        assert checkpoints.notes(step)["accuracy"] == step / 100
    found = checkpoints.restore_last(like())
    assert found is not None
    assert found[0] == STEPS[-1]
    checkpoints.close()


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 1.0])
def test_a_flipped_byte_never_gives_a_wrong_state(
    copied: pathlib.Path, place: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever byte of the newest checkpoint's files flips, the state is right or the one before.

    A checkpoint that is passed over is named in a warning.
    """
    passed_over = 0
    for path in by_size(copied / str(STEPS[-1])):
        flip(path, place)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = restore_last(copied)
        flip(path, place)  # as it was
        assert found is not None
        step, state = found
        assert_same_bits(state, state_at(step))
        warned = "checkpoint 20 is damaged" in caplog.text
        assert warned == (step == STEPS[0])
        passed_over += warned
    if 0 < place < 1:
        assert passed_over > 0  # or nothing was tested


def test_flipped_bits_of_the_arrays_fall_back(
    copied: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A byte flipped inside the largest file, which holds the arrays, falls back with a warning."""
    largest = by_size(copied / str(STEPS[-1]))[0]
    flip(largest, 0.5)
    with caplog.at_level(logging.WARNING):
        found = restore_last(copied)
    assert found is not None
    assert found[0] == STEPS[0]
    assert_same_bits(found[1], state_at(STEPS[0]))
    assert "checkpoint 20 is damaged" in caplog.text


FOUR_STRATA = {"buffer.num_shards": 4}


@pytest.mark.parametrize("name", ["checksum_of_rest", "checksums_of_strata"])
def test_a_wrong_value_that_reads_well_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    """A state whose bytes are whole but not those of its checksum is refused on restore.

    Each stratum of the buffer has one of its own, and all else another.
    """
    right = getattr(state_format, name)
    wrong = {
        "checksum_of_rest": lambda state: "00000000",
        "checksums_of_strata": lambda rows, n: [*right(rows, n)[:-1], "00000000"],
    }
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_format, name, wrong[name])
        checkpoints.save(1, state_at(1), settings=FOUR_STRATA)
    checkpoints.wait()
    with pytest.raises(Damaged, match="checksum does not fit"):
        checkpoints.restore(1, like())
    checkpoints.close()


def test_one_checksum_for_all_is_read_on(tmp_path: pathlib.Path) -> None:
    """A checkpoint of format 2 is read to the bit, and refused where its one checksum differs."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step, seed in ((1, 1), (2, 1)):
        two = {"format": 2, "checksum": checksum(state_at(seed)), "strata": []}
        checkpoints.save(step, state_at(step), **two)
    checkpoints.wait()
    assert_same_bits(checkpoints.restore(1, like()), state_at(1))
    with pytest.raises(Damaged, match="checksum does not fit"):
        checkpoints.restore(2, like())
    checkpoints.close()


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_torn_checkpoint_falls_back(copied: pathlib.Path, damage: str) -> None:
    """A checkpoint with a file cut in half or gone is passed over for the one before."""
    largest = by_size(copied / str(STEPS[-1]))[0]
    if damage == "truncated":
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    else:
        largest.unlink()
    found = restore_last(copied)
    assert found is not None
    assert found[0] == STEPS[0]
    assert_same_bits(found[1], state_at(STEPS[0]))


def test_if_all_are_damaged_the_error_says_what_to_do(copied: pathlib.Path) -> None:
    """With no good checkpoint left the error names the folder and the remedy."""
    for step in STEPS:
        flip(by_size(copied / str(step))[0], 0.5)
    with pytest.raises(UserError, match=r"only damaged ones .*\[10, 20\].*backup"):
        restore_last(copied)


def test_without_checkpoints_there_is_none(tmp_path: pathlib.Path) -> None:
    """An empty folder restores nothing, and that is no error."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.steps() == []
    assert checkpoints.restore_last(like()) is None
    checkpoints.close()


def test_only_the_last_ones_are_kept(tmp_path: pathlib.Path) -> None:
    """With keep = 2 the last two of four checkpoints are left."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, {"x": jnp.arange(3)})
    checkpoints.wait()
    assert checkpoints.steps() == [3, 4]
    checkpoints.close()


def test_a_step_that_is_there_stays(tmp_path: pathlib.Path) -> None:
    """Saving a step a second time leaves the first state."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for value in (1, 2):
        checkpoints.save(5, {"x": jnp.full(3, value)})
        checkpoints.wait()
    found = checkpoints.restore(5, {"x": jax.ShapeDtypeStruct((3,), jnp.int32)})
    np.testing.assert_array_equal(found["x"], 1)
    checkpoints.close()


def test_saving_copies_before_it_returns(tmp_path: pathlib.Path) -> None:
    """A state donated right after save is saved as it was."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    state = {"x": jnp.arange(1000.0)}
    expected = np.array(state["x"])
    checkpoints.save(1, state)
    jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s), donate_argnums=0)(state)
    checkpoints.wait()
    found = checkpoints.restore(1, {"x": jax.ShapeDtypeStruct((1000,), jnp.float32)})
    np.testing.assert_array_equal(found["x"], expected)
    checkpoints.close()


def test_a_reader_stands_beside_the_writer(tmp_path: pathlib.Path) -> None:
    """A read-only manager restores while the run's own is open, and changes no file."""
    folder = tmp_path / "checkpoints"
    writer = Checkpoints(folder, keep=1)
    writer.save(1, state_at(1))
    writer.wait()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = restore_last(folder)
    assert found is not None
    assert found[0] == 1
    assert_same_bits(found[1], state_at(1))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    writer.save(2, state_at(2))  # the writer goes on
    writer.close()
    last = restore_last(folder)
    assert last is not None
    assert last[0] == 2


def test_the_checksum_sees_values_names_types_and_shapes() -> None:
    """Two states have one checksum only if all leaves' names, dtypes, shapes and bytes agree."""
    x = np.arange(6, dtype=np.float32)
    different = [
        {"x": x},
        {"y": x},
        {"x": x.reshape(2, 3)},
        {"x": x.view(np.int32)},
        {"x": np.where(x == 3, np.nextafter(x, 9), x)},
        {"x": x, "z": np.zeros(0)},
        {"x": np.where(x == 0, -0.0, x).astype(np.float32)},
    ]
    assert len({checksum(state) for state in different}) == len(different)
    assert checksum({"x": jnp.asarray(x)}) == checksum({"x": x.copy()})


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_unreadable_notes_are_damage(copied: pathlib.Path, text: str) -> None:
    """A checkpoint whose notes are empty or torn is passed over for the one before."""
    (copied / str(STEPS[-1]) / "notes" / "metadata").write_text(text)
    found = Checkpoints(copied, read_only=True).restore_last(like())
    assert found is not None and found[0] == STEPS[0]
    assert Checkpoints(copied, read_only=True).notes(STEPS[-1]) == {}


def test_another_structure_is_not_called_damaged(written: pathlib.Path) -> None:
    """A state that lacks an array, or has one of another shape, is refused by name, and so is one
    of a later format; each names the version that wrote it.
    """
    other = like()
    other = other.replace(params={**other.params, "extra": other.params["half"]})
    with pytest.raises(UserError, match=r"another structure .* params/extra"):
        Checkpoints(written, read_only=True).restore(STEPS[0], other)
    with pytest.raises(UserError, match=r"written by sadajem-jax 9\.9.*update"):
        state_format.require_known({"format": 99, "version": "9.9"}, "checkpoint 3")


def test_a_checkpoint_deleted_while_it_was_to_be_read(copied: pathlib.Path) -> None:
    """Where a training deletes the checkpoints that were listed, those that came are read."""
    checkpoints = Checkpoints(copied, read_only=True)
    listed = checkpoints.steps()
    shutil.move(copied / str(STEPS[0]), copied / "35")
    shutil.rmtree(copied / str(STEPS[1]))
    with pytest.MonkeyPatch.context() as patch:
        answers = iter([listed])
        fresh = checkpoints.steps
        patch.setattr(checkpoints, "steps", lambda: next(answers, None) or fresh())
        found = checkpoints.read_last()
    assert found is not None and found.step == 35


@pytest.mark.parametrize("comes", [True, False])
def test_processes_list_what_the_first_one_lists(
    copied: pathlib.Path, comes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that shows late is waited for; one that never shows is a folder not shared."""
    late, step = copied.parent / "late", copied / str(STEPS[1])
    shutil.move(step, late)

    def of_first(act: Callable[[], Any]) -> Any:
        assert act() == [STEPS[0]]
        return list(STEPS)

    monkeypatch.setattr(processes, "of_first", of_first)
    monkeypatch.setattr(checkpoint, "LAG", 0.5)
    monkeypatch.setattr(
        time, "sleep", lambda _: late.exists() and comes and shutil.move(late, step)
    )
    if comes:
        assert Checkpoints(copied).steps() == list(STEPS)
        return
    with pytest.raises(UserError, match=r"\[10, 20\] in .*found \[10\]; give a --workdir that all"):
        Checkpoints(copied)
