"""Where TensorBoard shows a run's numbers: its tags, in groups, and the config as a table.

W/train_metrics.jsonl keeps the short names, which tables and curves read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TAGS = {
    "loss": "loss/total",
    "cross_entropy": "loss/cross_entropy",
    "px_term": "loss/px_term",
    "accuracy": "train/accuracy",
    "log_density_data": "log_density/data",
    "log_density_data_std": "log_density/data_std",
    "log_density_samples": "log_density/samples",
    "log_density_start": "log_density/chain_start",
    "log_density_gap": "log_density/gap",
    "grad_norm": "norm/gradient",
    "param_norm": "norm/parameters",
    "score_norm": "norm/score",
    "learning_rate": "learning_rate",
    "images_per_second": "time/images_per_second",
    "epoch": "time/epoch",
}
FURTHER = "loss/further/"  # a term of the objective that was added


def tag(name: str) -> str:
    """The tag of a number of a step.

    Examples:
      >>> tag("log_density_gap"), tag("my_term")
      ('log_density/gap', 'loss/further/my_term')
    """
    return TAGS.get(name, FURTHER + name)


def table(settings: Mapping[str, Any]) -> str:
    """A flat config as a Markdown table.

    Examples:
      >>> print(table({"seed": 0, "data.name": "digits", "init_from": ""}))
      | field | value |
      |---|---|
      | `seed` | `0` |
      | `data.name` | `digits` |
      | `init_from` | |
    """
    rows = [f"| `{field}` | {_cell(value)}|" for field, value in settings.items()]
    return "\n".join(["| field | value |", "|---|---|", *rows])


def _cell(value: Any) -> str:
    text = str(value).replace("|", "\\|")
    return f"`{text}` " if text else ""
