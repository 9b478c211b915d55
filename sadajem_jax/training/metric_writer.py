"""TensorBoard event files through clu's interface, with or without TensorFlow.

clu's SummaryWriter needs TensorFlow and TensorBoard. Where both are installed `create` returns it;
elsewhere a light writer of the same methods, which writes the same format with tensorboardX.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class MetricWriter(Protocol):
    """What the program uses of `clu.metric_writers.MetricWriter`."""

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes one number a name: Python, NumPy or JAX scalars."""

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Writes uint8 images `[N, H, W, C]` or `[H, W, C]` a name, C 1 or 3."""

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes one Markdown text a name."""

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes the flat hyper-parameters of the run, once a writer."""

    def flush(self) -> None:
        """Returns when all that was written is on the disk."""

    def close(self) -> None:
        """Flushes and closes; nothing may be written after."""


def create(logdir: str | os.PathLike[str], purge_step: int | None = None) -> MetricWriter:
    """A writer of event files into `logdir`, beside those that are there already.

    Args:
      logdir: the folder; created if it is missing.
      purge_step: for a resumed run, the first step it will write: a run restored after step n
        passes n + 1. TensorBoard then hides what an earlier run wrote at that step and later.

    Returns:
      clu's `SummaryWriter` if TensorFlow and TensorBoard are installed (importing them takes some
      ten seconds, and happens only here), else the light writer.
    """
    logdir = os.fspath(logdir)
    # TensorBoard takes the first start in a folder for the run's own and purges at later ones only:
    # a new run needs its mark as well.
    if purge_step is None and not glob.glob(os.path.join(glob.escape(logdir), "*tfevents*")):
        purge_step = 0
    if not _tensorflow_is_installed():
        return _LightWriter(logdir, purge_step)
    # clu cannot purge; TensorBoard reads a folder's files in order, so a file of the mark alone,
    # written before clu's, does it.
    if purge_step is not None:
        _LightWriter(logdir, purge_step).close()
    return _clu_writer(logdir)


def _tensorflow_is_installed() -> bool:
    """Whether clu's writer can be imported, found out without the cost of importing it."""
    return all(importlib.util.find_spec(name) for name in ("tensorflow", "tensorboard"))


def _clu_writer(logdir: str) -> MetricWriter:
    """The writer of clu, with TensorFlow kept off the accelerators."""
    import tensorflow as tf
    from clu import metric_writers

    # TensorFlow would take the whole memory of each GPU it sees, and leave JAX none.
    tf.config.set_visible_devices([], "GPU")
    return metric_writers.SummaryWriter(logdir)


class _LightWriter:
    """clu's methods over tensorboardX's events.

    It takes tensorboardX's writer of one file, not its `SummaryWriter`: that one queues events to
    a thread, its `flush` does not wait for the queue, and two of them opened in the same second
    write over each other's file.
    """

    def __init__(self, logdir: str, purge_step: int | None):
        # Here, not above: tensorboardX imports torch where it finds it.
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2, summary_pb2

        self._summary, self._event_pb2, self._summary_pb2 = summary, event_pb2, summary_pb2
        os.makedirs(logdir, exist_ok=True)
        # A file's name begins with the second; the nanoseconds after it keep two files of one
        # second apart and in order, and their leading zero keeps them before one of clu's, where
        # the number of the process stands.
        self._file = EventsWriter(os.path.join(logdir, "events"), f".{time.time_ns():020d}")
        if purge_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(purge_step, session_log=start)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes one number a name.

        Args:
          step: the step the numbers belong to.
          scalars: Python, NumPy or JAX scalars; stored as float32.
        """
        self._write_summaries(
            step, [self._summary.scalar(name, np.asarray(x)) for name, x in scalars.items()]
        )

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Writes images; those of one array are named `name/0`, `name/1` and so on.

        Args:
          step: the step the images belong to.
          images: uint8 `[N, H, W, C]` or `[H, W, C]` by name, C 1 or 3.

        Raises:
          ValueError: on another shape or type.
        """
        summaries = []
        for name, batch in images.items():
            batch = np.asarray(batch)
            if batch.dtype != np.uint8 or batch.ndim not in (3, 4) or batch.shape[-1] not in (1, 3):
                raise ValueError(
                    f"images {name!r}: expected uint8 [N, H, W, C] or [H, W, C] with C 1 or 3, "
                    f"found {batch.dtype} {list(batch.shape)}"
                )
            for i, image in enumerate(batch.reshape(-1, *batch.shape[-3:])):
                summaries.append(self._summary.image(f"{name}/{i}", image, dataformats="HWC"))
        self._write_summaries(step, summaries)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes texts for TensorBoard's TEXT tab, under the tags that clu's writer gives them.

        Args:
          step: the step the texts belong to.
          texts: Markdown by name.
        """
        summaries = [self._summary.text(name, text) for name, text in texts.items()]
        for summary, name in zip(summaries, texts, strict=True):
            summary.value[0].tag = name  # tensorboardX appends its own to it
        self._write_summaries(step, summaries)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes the hyper-parameters of the run for TensorBoard's HPARAMS tab, once.

        The tab finds the numbers to show beside them by itself: all scalars of the run.

        Args:
          hparams: flat, by name. Numbers, booleans and strings are kept, everything else (None,
            tuples) is written as its text.
        """
        plain = {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in hparams.items()
        }
        _, start, _ = self._summary.hparams(plain, {})
        self._write_summaries(0, [start])

    def flush(self) -> None:
        """Returns when all that was written is on the disk."""
        self._file.flush()

    def close(self) -> None:
        """Flushes and closes; nothing may be written after."""
        self._file.close()

    def _write_summaries(self, step: int, summaries: list[Any]) -> None:
        """Writes several summaries as one event."""
        merged = self._summary_pb2.Summary(value=[v for s in summaries for v in s.value])
        self._write(step, summary=merged)

    def _write(self, step: int, **content: Any) -> None:
        """Writes one event, stamped with the time of now."""
        event = self._event_pb2.Event(step=int(step), wall_time=time.time(), **content)
        self._file.write_event(event)
