"""--mode=eval: a run's model, the parts that the `eval` section names, and the report.

What W then holds stands in `workdir.records`; W/report/index.html has all of it on one page.
"""

from __future__ import annotations

import pathlib

import ml_collections

from sadajem_jax.console.words import comma_list
from sadajem_jax.data import loading
from sadajem_jax.data.loading import Images
from sadajem_jax.data.specs import get_spec
from sadajem_jax.evaluation import parts
from sadajem_jax.evaluation.parts import Asked
from sadajem_jax.evaluation.passes import Passes
from sadajem_jax.evaluation.running import Runner, exit_status
from sadajem_jax.inference import load
from sadajem_jax.report import page
from sadajem_jax.workdir.records import Records


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
    settings, data_dir = config.eval, config.data.data_dir or None
    model = load.load(
        workdir,
        settings.checkpoint,
        batch_size=load.fitting(settings.batch_size),
        data_dir=data_dir,
    )
    print(f"evaluating the checkpoint {model.checkpoint} (step {model.step:,})", flush=True)
    runner = Runner(workdir, model, force=settings.force)
    passes = Passes(
        model,
        lambda: loading.load(model.spec, "test", data_dir),
        held_out=lambda: _held_out(config),
        batch_size=settings.batch_size,
        wants_gradient=runner.wants_gradient,
    )
    asked = Asked(
        model,
        passes,
        workdir,
        num_bins=settings.num_bins,
        val_size=config.data.val_size,
        ood=tuple(comma_list(settings.ood)),
        data_dir=data_dir,
    )
    Records(workdir).name_parts(parts.NAMES)
    wanted = comma_list(settings.only) or parts.NAMES
    names = [name for name in parts.NAMES if name in wanted]
    outcomes = runner.run([piece for name in names for piece in parts.of(name)(asked)])
    print(f"report: {page.write(workdir)}", flush=True)
    return exit_status(outcomes)


def _held_out(config: ml_collections.ConfigDict) -> Images | None:
    """The validation images, if any are held out of the training."""
    if config.data.val_size == 0:
        return None
    spec = get_spec(config.data.name)
    train = loading.load(spec, "train", config.data.data_dir or None)
    return loading.hold_out(train, config.data.val_size)[1]
