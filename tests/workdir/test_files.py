"""Tests of the atomic writes and of the logs of one JSON object a line."""

import json
import os

import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.console.errors import UserError
from sadajem_jax.workdir import files


def steps(path):
    """The steps of a log's lines, each of which must be whole."""
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_text_replaces_the_old_file_and_leaves_no_other(tmp_path):
    """A written file holds exactly the new text, and its folder holds nothing but the file."""
    path = tmp_path / "new folder" / "report.md"
    files.write_text_atomically(path, "first, and longer than the second")
    files.write_text_atomically(path, "ζweite")
    assert path.read_text(encoding="utf-8") == "ζweite"
    assert [p.name for p in path.parent.iterdir()] == ["report.md"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, failing):
    """If the disk fails in the middle of a write, the old content is there and nothing else is."""
    path = tmp_path / "metrics.json"
    files.write_json_atomically(path, {"accuracy": 1})

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="no space left"):
        files.write_json_atomically(path, {"accuracy": 2})
    assert json.loads(path.read_text()) == {"accuracy": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_numpy_and_jax_values_are_written_as_numbers(tmp_path):
    """Scalars and arrays of NumPy and JAX come back from JSON as equal numbers and lists."""
    path = tmp_path / "metrics.json"
    obj = {"a": np.float32(0.5), "b": jnp.int32(3), "c": np.arange(3), "d": jnp.zeros((1, 2))}
    files.write_json_atomically(path, obj)
    expected = {"a": 0.5, "b": 3, "c": [0, 1, 2], "d": [[0.0, 0.0]]}
    assert json.loads(path.read_text()) == expected


def test_what_json_cannot_hold_is_an_error_and_writes_nothing(tmp_path):
    """An object without a JSON form raises a TypeError that names it, before any file appears."""
    for write in files.write_json_atomically, files.append_json_line:
        with pytest.raises(TypeError, match="found set"):
            write(tmp_path / "x.json", {"a": {1, 2}})
    assert not list(tmp_path.iterdir())


def test_lines_are_appended_in_order(tmp_path):
    """Each appended object is one line, after those that were there."""
    path = tmp_path / "logs" / "train.jsonl"
    for step in range(3):
        files.append_json_line(path, {"step": step, "loss": np.float32(step / 4)})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == [{"step": step, "loss": step / 4} for step in range(3)]


@pytest.mark.parametrize(
    ("last_step", "expected"),
    [(-1, []), (0, [0]), (4, [0, 2, 4]), (5, [0, 2, 4]), (9, [0, 2, 4, 6])],
)
def test_truncation_keeps_the_steps_up_to_the_last(tmp_path, last_step, expected):
    """Exactly the lines whose step is at most the last step stay, in their order."""
    path = tmp_path / "train.jsonl"
    for step in 0, 2, 4, 6:
        files.append_json_line(path, {"step": step})
    files.truncate_json_lines(path, last_step)
    assert steps(path) == expected


def test_a_log_torn_at_any_byte_resumes_with_whole_lines(tmp_path):
    """Wherever a kill cut the last line, truncating and appending again gives the unbroken log."""
    path = tmp_path / "train.jsonl"
    for step in 1, 2:
        files.append_json_line(path, {"step": step, "loss": 0.25})
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        path.write_bytes(whole[:cut])
        files.truncate_json_lines(path, 1)
        files.append_json_line(path, {"step": 2, "loss": 0.25})
        assert path.read_bytes() == whole


def test_a_log_that_lost_only_its_last_newline_keeps_the_line(tmp_path):
    """A last line that is whole but for its newline stays, and what follows starts a new line."""
    path = tmp_path / "train.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}')
    files.truncate_json_lines(path, 2)
    files.append_json_line(path, {"step": 3})
    assert steps(path) == [1, 2, 3]


@pytest.mark.parametrize("line", ["not JSON", '{"loss": 1}', "[1]", "3"])
def test_a_bad_line_in_the_middle_is_an_error(tmp_path, line):
    """A line that no torn write explains is named in the error, and the log stays as it was."""
    path = tmp_path / "train.jsonl"
    text = f'{{"step": 1}}\n{line}\n{{"step": 2}}\n'
    path.write_text(text)
    with pytest.raises(UserError, match="line 2"):
        files.truncate_json_lines(path, 2)
    assert path.read_text() == text


def test_truncating_a_log_that_does_not_exist_does_nothing(tmp_path):
    """A run that has logged nothing yet can resume: no file appears."""
    files.truncate_json_lines(tmp_path / "train.jsonl", 3)
    assert not list(tmp_path.iterdir())
