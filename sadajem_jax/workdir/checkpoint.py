"""Checkpoints of a run: orbax, behind one thin module, with a checksum and a version of our own.

Orbax writes beside and renames, so a checkpoint is there whole or not at all; but it restores
flipped bits without a word. So each carries a checksum, verified when it is read, and a bad one
falls back to the one before. A checkpoint is read as plain nested dicts first and only then put
into the structure asked for: what is damaged and what is merely of another structure are told
apart.
"""

from __future__ import annotations

import logging
import pathlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from sadajem_jax import __version__
from sadajem_jax.console import processes
from sadajem_jax.console.errors import UserError, first_line
from sadajem_jax.workdir import host_copies, state_format

logger = logging.getLogger(__name__)
absl.logging.set_verbosity(absl.logging.ERROR)  # orbax tells every option it derives

Processes = ocp.options.MultiprocessingOptions
LAG = 60.0  # seconds within which a file that one machine wrote is listed by all


class Damaged(Exception):
    """A checkpoint that cannot be read, or whose contents its checksum does not fit."""


class Stored(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      step: its name.
      state: nested dicts and lists of NumPy arrays, by the names of TrainState's fields.
      notes: what `save` was given beside the state.
    """

    step: int
    state: dict[str, Any]
    notes: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run.

    Args:
      folder: where they are, one folder a step.
      keep: how many of the last ones are kept; None keeps all.
      read_only: never creates, cleans or deletes anything, for evaluation beside a training.
        Without it all processes of a run must make one at the same point: from then on each of them
        saves and deletes alike, so that their lists stay the same.

    Raises:
      UserError: if this process lists others than the first one, and does so for a minute.
    """

    def __init__(
        self, folder: pathlib.Path, *, keep: int | None = None, read_only: bool = False
    ) -> None:
        self.folder, self._read_only = folder.absolute(), read_only
        if read_only:
            self._manager = self._reader = _reader(self.folder)
            return
        self._manager = _manager(self.folder, Processes(), keep=keep)
        self._reader = self._manager if processes.count() == 1 else _reader(self.folder)
        self._agree()

    def _agree(self) -> None:
        """Waits until this process lists what the first one lists: a network's folder may lag."""
        steps, deadline = processes.of_first(self.steps), time.monotonic() + LAG
        while self.steps() != steps:
            if time.monotonic() > deadline:
                raise UserError(
                    f"expected the checkpoints {steps} in {self.folder}, which the first process "
                    f"finds there, found {self.steps()}; give a --workdir that all processes share"
                )
            time.sleep(LAG / 60)
            self._manager.reload()

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending; read-only, as the folder stands now."""
        if self._read_only:
            self._manager.reload()
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, **notes: Any) -> None:
        """Writes the state of `step` in the background; a state that is there already stays.

        Args:
          step: its name.
          state: pytree of arrays; copied to the host before this returns.
          **notes: small JSON values to keep beside it.

        Raises:
          UserError: if an earlier write failed (a full disk, a read-only folder).
        """
        if step in self._manager.all_steps():
            return
        copies = host_copies.copied(state)
        record = {
            "format": state_format.CURRENT,
            "version": __version__,
            "checksum": state_format.checksum_of_rest(copies),
            "strata": _strata(copies, state, notes),
            **notes,
        }
        whole = host_copies.joined(copies, state)
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(whole), notes=ocp.args.JsonSave(record)
        )
        try:
            # orbax would leave out a step below the newest one without a word
            self._manager.save(step, args=args, force=True)
        except Exception as error:  # of this write, or of the one before in the background
            raise self._unwritable(error) from error

    def wait(self) -> None:
        """Returns when all is on the disk; raises UserError if it could not be written."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # whatever tensorstore met: disk full, folder gone
            raise self._unwritable(error) from error

    def read(self, step: int) -> Stored:
        """What the checkpoint of `step` holds, verified.

        Raises:
          Damaged: if it cannot be read, or its checksum does not fit.
          UserError: if a later version of the program wrote it.
        """
        if not self._read_only:
            self.wait()  # it may be the one that is being written
        try:
            shapes = self._reader.item_metadata(step)["state"].tree
            plain = jax.tree.map(lambda array: np.empty(array.shape, array.dtype), shapes)
            args = ocp.args.Composite(
                state=ocp.args.StandardRestore(plain), notes=ocp.args.JsonRestore()
            )
            found = self._reader.restore(step, args=args)
            state, notes = dict(found.state), dict(found.notes)
        except Exception as error:  # corrupt files raise anything
            raise Damaged(first_line(error)) from error
        state_format.require_known(notes, f"checkpoint {step} in {self.folder}")
        if not state_format.is_whole(state, notes):
            raise Damaged("its checksum does not fit its contents")
        return Stored(step, state, notes)

    def read_last(self) -> Stored | None:
        """The last good checkpoint, or None if there is none at all.

        A damaged one is reported and skipped. One that another process deletes meanwhile (a
        training keeps only its last few) is none: the folder is then listed once more. Of the
        processes of a run the first finds out which it is, and all read it.

        Raises:
          UserError: if there are checkpoints and none is good, or a later version wrote them.
        """
        if processes.is_alone():
            return self._last_good()

        def step_of_first() -> int | None:
            found = self._last_good()
            return None if found is None else found.step

        step = processes.of_first(step_of_first)
        return None if step is None else self.read(step)

    def _last_good(self) -> Stored | None:
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.read(step)
            except Damaged as error:
                if not (self.folder / str(step)).exists():
                    continue
                logger.warning("checkpoint %d is damaged (%s): using the one before", step, error)
        again = self.steps()
        if again != steps:
            return self._last_good()
        if steps:
            raise UserError(
                f"expected a good checkpoint in {self.folder}, found only damaged ones "
                f"({steps}); restore the folder from a backup or start in a new --workdir"
            )
        return None

    def restore(self, step: int, like: Any) -> Any:
        """The state of `step` in the structure of `like`, on the default device.

        Raises:
          Damaged: as `read`.
          UserError: if it has another structure, or a later version wrote it.
        """
        return self.fill(like, self.read(step))

    def restore_last(self, like: Any) -> tuple[int, Any] | None:
        """The last good checkpoint: (step, state of the structure of `like`), or None if none.

        Raises:
          UserError: as `read_last`, or if it has another structure.
        """
        found = self.read_last()
        return None if found is None else (found.step, self.fill(like, found))

    def fill(self, like: Any, found: Stored) -> Any:
        """What was read, in the structure of `like`, on the default device.

        Raises:
          UserError: if it has another structure.
        """
        where = f"checkpoint {found.step} in {self.folder}"
        return jax.device_put(state_format.fill(like, found.state, found.notes, where))

    def notes(self, step: int) -> dict[str, Any]:
        """What `save` was given beside the state of `step`; {} where that cannot be read."""
        args = ocp.args.Composite(notes=ocp.args.JsonRestore())
        try:
            return dict(self._reader.restore(step, args=args).notes)
        except Exception as error:  # the state beside it is then unreadable too: see `read`
            logger.warning("the notes of checkpoint %d are damaged (%s)", step, first_line(error))
            return {}

    def delete(self, step: int) -> None:
        """Deletes the checkpoint of `step`."""
        self.wait()
        self._manager.delete(step)

    def close(self) -> None:
        """Waits, and stops the background threads."""
        self.wait()
        self._manager.close()
        if self._reader is not self._manager:
            self._reader.close()

    def _unwritable(self, error: Exception) -> UserError:
        return UserError(
            f"could not write a checkpoint to {self.folder} ({first_line(error)}); the last good "
            f"one is intact: free space or make the folder writable, then give the same command "
            f"again"
        )


def _strata(copies: Any, state: Any, notes: Mapping[str, Any]) -> list[str]:
    """The checksums of the buffer's strata, those of all processes; none without a buffer."""
    rows, whole = (state_format.named(x).get(state_format.CUT) for x in (copies, state))
    if rows is None or whole is None:
        return []
    strata = notes.get("settings", {}).get("buffer.num_shards", 1)
    own = state_format.checksums_of_strata(rows, strata * len(rows) // len(whole))
    if len(rows) == len(whole):
        return own
    return [f"{crc:08x}" for crc in processes.gathered([int(crc, 16) for crc in own])]


def _manager(
    folder: pathlib.Path, who: Any, *, keep: int | None = None, read_only: bool = False
) -> Any:
    """Orbax's manager, for processes that come together at each of its steps."""
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, create=not read_only, read_only=read_only, multiprocessing_options=who
    )
    handlers = {
        "state": ocp.StandardCheckpointHandler(multiprocessing_options=who),
        "notes": ocp.JsonCheckpointHandler(multiprocessing_options=who),
    }
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)


def _reader(folder: pathlib.Path) -> Any:
    """A manager that only reads, and waits for no other process of the run."""
    number, alone = processes.number(), Processes()
    if processes.count() > 1:
        alone = Processes(number, {number}, f"reader_{number}")
    return _manager(folder, alone, read_only=True)
