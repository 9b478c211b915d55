"""Checkpoints of the whole TrainState: orbax, behind one thin module, with a checksum of our own.

Orbax writes beside and renames, so a checkpoint is there whole or not at all; but it restores
flipped bits without a word. So each carries a checksum, verified on restore, and a bad one falls
back to the one before.
"""

from __future__ import annotations

import json
import logging
import pathlib
import zlib
from typing import Any

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from sadajem_jax.console.errors import UserError

logger = logging.getLogger(__name__)
absl.logging.set_verbosity(absl.logging.ERROR)  # orbax tells every option it derives


class Checkpoints:
    """The checkpoints of a run.

    Args:
      folder: where they are, one folder a step.
      keep: how many of the last ones are kept; None keeps all.
      read_only: never creates, cleans or deletes anything, for evaluation beside a training.
    """

    def __init__(
        self, folder: pathlib.Path, *, keep: int | None = None, read_only: bool = False
    ) -> None:
        self.folder = folder.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None if read_only else keep, create=not read_only, read_only=read_only
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
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
        host = jax.tree.map(lambda x: np.array(x), jax.device_get(state))
        record = {"checksum": checksum(host), **notes}
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(host), notes=ocp.args.JsonSave(record)
        )
        try:
            self._manager.save(step, args=args)
        except Exception as error:  # of this write, or of the one before in the background
            raise self._unwritable(error) from error

    def wait(self) -> None:
        """Returns when all is on the disk; raises UserError if it could not be written."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:  # whatever tensorstore met: disk full, folder gone
            raise self._unwritable(error) from error

    def restore_last(self, like: Any) -> tuple[int, Any] | None:
        """The last good checkpoint: (step, state of the structure of `like`), or None if none.

        A checkpoint whose checksum is wrong, or that cannot be read, is reported and skipped.

        Raises:
          UserError: if there are checkpoints and none is good.
        """
        for step in reversed(self.steps()):
            try:
                return step, self.restore(step, like)
            except Exception as error:  # corrupt files raise anything; each is reported
                reason = str(error).splitlines()[0][:200] if str(error) else repr(error)
                logger.warning("checkpoint %d is damaged (%s): using the one before", step, reason)
        if self.steps():
            raise UserError(
                f"expected a good checkpoint in {self.folder}, found only damaged ones "
                f"({self.steps()}); restore the folder from a backup or start in a new --workdir"
            )
        return None

    def restore(self, step: int, like: Any) -> Any:
        """The state of `step`, of the structure of `like`, on the default device.

        Raises:
          ValueError: if its checksum is wrong.
        """
        shapes = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(shapes), notes=ocp.args.JsonRestore()
        )
        found = self._manager.restore(step, args=args)
        if found.notes["checksum"] != checksum(found.state):
            raise ValueError("its checksum does not fit its contents")
        return jax.device_put(found.state)

    def notes(self, step: int) -> dict[str, Any]:
        """What `save` was given beside the state."""
        args = ocp.args.Composite(notes=ocp.args.JsonRestore())
        return dict(self._manager.restore(step, args=args).notes)

    def delete(self, step: int) -> None:
        """Deletes the checkpoint of `step`."""
        self.wait()
        self._manager.delete(step)

    def close(self) -> None:
        """Waits, and stops the background threads."""
        self.wait()
        self._manager.close()

    def _unwritable(self, error: Exception) -> UserError:
        reason = str(error).splitlines()[0][:200] if str(error) else repr(error)
        return UserError(
            f"could not write a checkpoint to {self.folder} ({reason}); the last good one is "
            f"intact: free space or make the folder writable, then give the same command again"
        )


def checksum(state: Any) -> str:
    """CRC-32 over every leaf's path, dtype, shape and bytes."""
    crc = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        array = np.ascontiguousarray(leaf)
        label = json.dumps([jax.tree_util.keystr(path), str(array.dtype), list(array.shape)])
        crc = zlib.crc32(array.tobytes(), zlib.crc32(label.encode(), crc))
    return f"{crc:08x}"
