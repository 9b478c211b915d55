"""A stored program: WRN-10-1, bfloat16, batches 8 and 16, K = 2, compiled for an H100.

Made by `python -m benchmarks.gpu_program --hlo FILE` with the settings below as flags, and then
`python -m tests.gpu_program.stored FILE`, which leaves out what nothing reads.
"""

from __future__ import annotations

import lzma
import pathlib
import re
import sys

PATH = pathlib.Path(__file__).with_name("wrn10_1.hlo.xz")
SETTINGS = {
    "depth": 10,
    "width": 1,
    "batch_size_px": 8,
    "batch_size_label": 16,
    "num_sgld_steps": 2,
    "dtype": "bfloat16",
}
_UNREAD = (
    r", metadata=\{[^{}]*\}",
    r", (sharding|frontend_attributes|control-predecessors)=\{.*?\}(?=[,\n])",
    r', backend_config=\{(?!"known_trip_count").*',
    r"(?m)^(FileNames|FunctionNames|FileLocations|StackFrames)\n(.+\n)*",
)


def text() -> str:
    """The program."""
    return lzma.decompress(PATH.read_bytes()).decode()


def store(file: str) -> None:
    """Keeps the text of a file, without what the counter does not read."""
    found = pathlib.Path(file).read_text()
    for pattern in _UNREAD:
        found = re.sub(pattern, "", found)
    PATH.write_bytes(lzma.compress(found.encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    store(sys.argv[1])
