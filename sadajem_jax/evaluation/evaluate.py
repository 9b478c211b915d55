"""--mode=eval: a run's model, the parts that the `eval` section names, and the report.

What W then holds stands in `workdir.records`; W/report/index.html has all of it on one page.
"""

from __future__ import annotations

import pathlib

import ml_collections

from sadajem_jax.console.processes import of_first
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import parts
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.costs import Speeds
from sadajem_jax.evaluation.options import read as of_section
from sadajem_jax.evaluation.passes import Passes
from sadajem_jax.evaluation.predictions import Allowance
from sadajem_jax.evaluation.running import Runner, exit_status
from sadajem_jax.inference import load
from sadajem_jax.report import page
from sadajem_jax.workdir.records import Records
from sadajem_jax.workdir.settings import flat


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> int:
    """Evaluates the run in `workdir` and writes its report.

    Args:
      config: of W/config.json, the `eval` section as asked for; checked.
      workdir: W.

    Returns:
      The exit status: 1 if a part failed for a reason that is no user's, 2 if nothing of what was
      asked for could be computed, else 0.

    Raises:
      UserError: if W holds no such checkpoint, or records that cannot be read.
    """
    section, data_dir = config.eval, config.data.data_dir or None
    options = of_section(section.to_dict())
    model = load.load(
        workdir,
        section.checkpoint,
        batch_size=load.fitting(section.batch_size),
        data_dir=data_dir,
    )
    print(f"evaluating the checkpoint {model.checkpoint} (step {model.step:,})", flush=True)
    batch_size = options.batch_size
    speeds = Speeds(model.network, model.variables, model.image_shape, batch_size)
    allowance = Allowance([parts.part_of(word) for word in options.only], speeds)
    runner = Runner(workdir, model, force=section.force, allowance=allowance)
    passes = Passes(
        model,
        lambda: loading.load(model.spec, "test", data_dir),
        held_out=lambda: _held_out(config),
        batch_size=batch_size,
        wants_gradient=runner.wants_gradient,
    )
    asked = Asked(
        model,
        passes,
        workdir,
        settings=flat(config.to_dict()),
        options=options,
        data_dir=data_dir,
    )
    pieces = parts.of_named(options.only, asked)
    chosen = parts.chosen(options.only, pieces)
    left_out = [piece.name for piece in pieces if piece not in chosen]
    of_first(lambda: Records(workdir).name_parts([*parts.NAMES, *left_out]))
    outcomes = runner.run(chosen)
    print(f"report: {of_first(lambda: page.write(workdir))}", flush=True)
    return exit_status(outcomes)


def _held_out(config: ml_collections.ConfigDict) -> Images | None:
    """The validation images, if any are held out of the training."""
    if config.data.val_size == 0:
        return None
    spec = get_spec(config.data.name)
    train = loading.load(spec, "train", config.data.data_dir or None)
    return loading.hold_out(train, config.data.val_size)[1]
