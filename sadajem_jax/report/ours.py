"""How a number of ours says which model it is of: network, K, checkpoint, step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sadajem_jax.report import html, names
from sadajem_jax.report.run import MODELS, Run, Subject

NO_CHAINS = (
    "Inception Score and FID are left out: the training ran no chains, and the buffer, which they "
    "are of, holds the starts it was filled with."
)


def row(run: Run, subject: Subject, cells: Sequence[str], more: str = "") -> html.Row:
    """A row of ours beside the paper's, marked where the same model is known at a later step."""
    name = ", ".join(filter(None, [f"Ours: {model(run, subject)}", which(run, subject), more]))
    return ("ours older" if run.is_older(subject) else "ours"), (name, *cells)


def model(run: Run, subject: Subject | None) -> str:
    """The system where it is another than SADA-JEM, the network, and the K of its chains if any."""
    system = "" if run.system == names.DEFAULT_SYSTEM else names.system(run.system)
    shape = run.config.get("model")
    network = f"WRN-{shape['depth']}-{shape['width']}" if shape else "unknown network"
    known = subject.num_sgld_steps if subject else run.config.get("sgld", {}).get("num_steps")
    chain = f"K = {'unknown' if known is None else known}" if run.has_px else ""
    return ", ".join(filter(None, [system, network, chain]))


def credited(run: Run) -> tuple[Run, str]:
    """(the run without scores that are no work of its model's, why); most are as they are, ""."""
    kept = run.without_scores(*names.INCEPTION_SCORE, *names.FID)
    if run.has_chains or len(kept.metrics) == len(run.metrics):
        return run, ""
    return kept, NO_CHAINS


def which(run: Run, subject: Subject) -> str:
    """The checkpoint, its step, and whether there is a later one."""
    step = "step unknown" if subject.step is None else f"step {subject.step:,}"
    older = ", older" if run.is_older(subject) else ""
    if subject.prefix and subject.prefix not in MODELS:
        return f"checkpoint of {step}{older}"
    return ", ".join(filter(None, [MODELS[subject.prefix], step])) + older


def source(run: Run, name: str, record: Mapping[str, Any]) -> str:
    """As a record says it: the checkpoint asked for, its step, and whether there is a later one."""
    subject = run.subject(name, record)
    step = "step unknown" if subject.step is None else f"step {subject.step:,}"
    older = ", older" if run.is_older(subject) else ""
    checkpoint = str(record.get("checkpoint", ""))
    asked = "" if checkpoint.isdigit() else checkpoint
    return ", ".join(filter(None, [asked, step])) + older


def judged(run: Run, subject: Subject, name: str) -> str:
    """By which protocol, and of how many images, a number of sample quality is; "" if unknown."""
    if name.startswith(names.RELEASED):
        count = run.value(subject, f"{name}_images")
        return "released protocol" + ("" if count is None else f", {count:,.0f} images")
    count = run.value(subject, "samples/images")
    return "" if count is None else f"all {count:,.0f} images"
