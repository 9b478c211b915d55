"""Writes sadajem_jax/workdir/defaults.json from configs/, which stays the one truth.

  python -m tools.config_defaults

An installed program has no configs/ beside it, and reading a run must execute no file of whatever
folder it is called from: so the values lie in the package as JSON. A test holds them equal.
"""

from __future__ import annotations

import json

from sadajem_jax.cli import config
from sadajem_jax.workdir import files, settings


def generate() -> str:
    """The text of defaults.json: {data set: {field: value}} of every config that ships."""
    found = {}
    for name in config.shipped():
        made = config.load(name)
        found[made.data.name] = settings.flat(made.to_dict())
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    files.write_text_atomically(settings.DEFAULTS, generate())
