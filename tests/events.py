"""Event files of TensorBoard, read back record by record."""

from __future__ import annotations

import pathlib
import struct
from typing import Any

from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c


def read_events(path: pathlib.Path) -> list[Any]:
    """The events of one file: length, its checksum, the event, its checksum; little-endian."""
    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event, checks = data[12 : 12 + length], data[8:12] + data[12 + length : 16 + length]
        assert struct.unpack("<II", checks) == (masked_crc32c(data[:8]), masked_crc32c(event))
        events.append(event_pb2.Event.FromString(event))
        data = data[16 + length :]
    return events


def read_folder(folder: pathlib.Path) -> list[Any]:
    """The events of all files of a folder, in the order in which TensorBoard reads the files."""
    return [e for path in sorted(folder.glob("*tfevents*")) for e in read_events(path)]


def scalars(events: list[Any]) -> list[tuple[int, str, float]]:
    """(step, name, value) of each scalar."""
    return [
        (e.step, v.tag, v.simple_value)
        for e in events
        for v in e.summary.value
        if v.HasField("simple_value")
    ]
