"""The versions of what a checkpoint holds, its checksums, and how it is put into a run's structure.

Format 3 (this program): the buffer has a checksum for each of its strata, so that a process which
holds some of them need not have the others; all else has one.
Format 2: one checksum for all; leaves are told by the names on their path, whatever holds them.
Format 1 (release 0.1.0's development, no "format" among the notes): the same leaves; its checksum
was taken over JAX's own path strings, in TrainState's order.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from sadajem_jax.console.errors import UserError

CURRENT = 3
CUT = "buffer"  # the leaf whose rows may lie apart
_FIELDS_OF_1 = ("step", "params", "batch_stats", "opt_state", "buffer", "ema")
_ATTRIBUTES_OF_1 = ("norm", "trace", "count")  # of the optimizer's named tuples


def leaves(state: Any) -> dict[str, np.ndarray]:
    """{"params/conv1/kernel": array, ...} of nested containers of any kind."""
    return {name: np.asarray(leaf) for name, leaf in named(state).items()}


def named(state: Any) -> dict[str, Any]:
    """The same, the arrays as they are."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _name(path: Iterable[Any]) -> str:
    return "/".join(str(_word(key)) for key in path)


def _word(key: Any) -> Any:
    """What a step of a path is called: a dict's key, a list's index, a named tuple's field."""
    return getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))


def checksum(state: Any) -> str:
    """CRC-32 over the name, dtype, shape and bytes of every leaf, sorted by name."""
    return _crc(sorted(leaves(state).items()))


def checksum_of_rest(state: Any) -> str:
    """As `checksum`, of all leaves but the buffer."""
    return _crc(sorted((name, leaf) for name, leaf in leaves(state).items() if name != CUT))


def checksums_of_strata(rows: np.ndarray, strata: int) -> list[str]:
    """As `checksum`, of each of so many equal runs of the buffer's rows [N, ...]."""
    return [_crc([(CUT, stratum)]) for stratum in np.split(rows, strata)]


def is_whole(state: Mapping[str, Any], notes: Mapping[str, Any]) -> bool:
    """Whether a state read as plain containers has the checksums that its notes tell."""
    if notes.get("format", 1) < 3:
        return notes.get("checksum") == checksum_of_stored(state, notes)
    strata, buffer = notes.get("strata", []), state.get(CUT)
    if (buffer is None) != (not strata) or notes.get("checksum") != checksum_of_rest(state):
        return False
    return buffer is None or strata == checksums_of_strata(buffer, len(strata))


def _crc(labelled: Iterable[tuple[str, np.ndarray]]) -> str:
    crc = 0
    for name, leaf in labelled:
        array = np.ascontiguousarray(leaf)
        label = json.dumps([name, str(array.dtype), list(array.shape)])
        crc = zlib.crc32(array.tobytes(), zlib.crc32(label.encode(), crc))
    return f"{crc:08x}"


def checksum_of_stored(state: Mapping[str, Any], notes: Mapping[str, Any]) -> str:
    """The checksum of a state read as plain containers, as the format that wrote it takes it."""
    if notes.get("format", 1) > 1:
        return checksum(state)
    parts = (
        (_name_of_1(field, path), leaf)
        for field in _FIELDS_OF_1
        for path, leaf in jax.tree_util.tree_leaves_with_path(state.get(field))
    )
    return _crc(parts)


def _name_of_1(field: str, path: Iterable[Any]) -> str:
    """The path as JAX's keystr gave it for a TrainState."""
    words = [_word(key) for key in path]
    keys = "".join(
        f".{word}" if field == "opt_state" and word in _ATTRIBUTES_OF_1 else f"[{word!r}]"
        for word in words
    )
    return f".{field}{keys}"


def require_known(notes: Mapping[str, Any], where: str) -> None:
    """Raises UserError where a later version of the program wrote the state."""
    found = notes.get("format", 1)
    if found > CURRENT:
        raise UserError(
            f"{where} is of format {found}, written by sadajem-jax {notes.get('version', '?')}; "
            f"this program reads up to {CURRENT}: update it"
        )


def fill(like: Any, state: Mapping[str, Any], notes: Mapping[str, Any], where: str) -> Any:
    """The stored leaves in the structure of `like`.

    Args:
      like: pytree of anything with a shape.
      state: as `Checkpoints.read` gives it.
      notes: likewise.
      where: names the checkpoint in an error.

    Raises:
      UserError: if leaves are missing, left over, or of another shape: another structure.
    """
    stored = leaves(state)
    paths = jax.tree_util.tree_leaves_with_path(like)
    wanted = {_name(path): leaf.shape for path, leaf in paths}
    differ = sorted(wanted.keys() ^ stored.keys())
    differ += [n for n in wanted if n in stored and stored[n].shape != tuple(wanted[n])]
    if differ:
        raise UserError(
            f"{where}, written by sadajem-jax {notes.get('version', '0.1.0')}, holds another "
            f"structure than this run ({len(differ)} arrays differ, the first is {differ[0]}): "
            f"give the version and the config that wrote it, or another --workdir"
        )
    return jax.tree.unflatten(jax.tree.structure(like), [stored[_name(p)] for p, _ in paths])
