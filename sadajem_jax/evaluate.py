"""Evaluates a model and merges the numbers into W/metrics.json."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import ml_collections

from sadajem_jax import data, files
from sadajem_jax.evaluation.accuracy import Accuracy
from sadajem_jax.train_state import TrainState
from sadajem_jax.wide_resnet import WideResNet


def variables(state: TrainState) -> dict[str, Any]:
    """What `model.apply` takes in evaluation mode."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def test_metrics(
    config: ml_collections.ConfigDict, model: WideResNet, state: TrainState
) -> dict[str, float]:
    """Accuracy (0 to 1) and nll (nats an image) on the test split, as test/accuracy, test/nll."""
    images, labels = data.load(config.data.name, "test", config.data.data_dir or None)
    evaluator = Accuracy(model, batch_size=min(config.eval.batch_size, len(labels)))
    return dict(evaluator(variables(state), images, labels, "test"))


def merge_metrics(workdir: pathlib.Path, found: dict[str, Any]) -> dict[str, Any]:
    """Puts `found` on top of W/metrics.json, replaced atomically; returns all of it."""
    path = workdir / "metrics.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    merged = {**old, **found}
    files.write_json_atomically(path, merged)
    return merged
