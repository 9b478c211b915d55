"""What a training tells on its way, as long as no evaluation has shown it of the same step."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sadajem_jax.report import html
from sadajem_jax.report.html import text
from sadajem_jax.report.run import Run

TILES = (
    ("validation accuracy", "val/accuracy", "{:.2%}"),
    ("validation nll, nats", "val/nll", "{:.3f}"),
    ("test accuracy", "test/accuracy", "{:.2%}"),
    ("test nll, nats", "test/nll", "{:.3f}"),
)
EARLY = "They are to be looked at; nothing is to be chosen by what the test images say on the way."


def section(run: Run) -> str:
    """That the run goes on, its last numbers, its last samples and its curves."""
    goes_on, pictures = run.training.goes_on, "\n".join(_pictures(run))
    if not (goes_on or pictures or run.training.damaged):
        return ""
    title = "The training so far" if goes_on else "The training"
    shown = f'<div class="figures">\n{pictures}\n</div>' if pictures else ""
    damage = f"<p>Its log cannot be read: {text(run.training.damaged)}</p>"
    news = _news(run) if goes_on else damage if run.training.damaged else ""
    blocks = [html.heading(title), news, _numbers(run), shown]
    return "\n".join(filter(None, blocks))


def _news(run: Run) -> str:
    """How far it was when the page was made."""
    found = run.training
    now = time.strftime("%Y-%m-%d %H:%M")
    return (
        f"<p><b>This run goes on</b>: it was at step {found.step:,} of {found.total:,} (epoch "
        f"{found.epoch:.3g}) when this page was made, {text(now)}. The page is made anew as the "
        "training is evaluated and draws samples, and at its end.</p>"
    )


def _numbers(run: Run) -> str:
    """Of the last evaluation on the way; those of the end stand in the page's head."""
    judged, is_over = run.training.judged, not run.training.goes_on
    names = [tile for tile in TILES if tile[1] in judged and not (is_over and "test" in tile[1])]
    tiles = "".join(_tile(name, judged[key], form, judged["step"]) for name, key, form in names)
    early = f'<p class="soft">{EARLY}</p>' if any("test" in key for _, key, _ in names) else ""
    return f'<div class="tiles">{tiles}</div>{early}' if tiles else ""


def _tile(name: str, value: float, form: str, step: float) -> str:
    return (
        f'<div class="tile"><b>{html.cell(value, form)}</b>'
        f'<span class="soft">{text(name)}</span><span class="soft">step {step:,}</span></div>'
    )


def _pictures(run: Run) -> Iterator[str]:
    """Those that are newer than what the evaluation drew."""
    found = run.training
    if found.grid is not None and found.grid[1] > _evaluated(run, "samples"):
        path, step = found.grid
        said = f"The first images of the replay buffer at step {step:,}."
        yield html.figure(path, "Samples of the training", said)
    if found.curves is not None and found.step > _evaluated(run, "curves"):
        said = "Learning curves, against epochs; each point of training is a mean over some steps."
        yield html.figure(found.curves, "Learning curves", said)


def _evaluated(run: Run, part: str) -> int:
    """The last step that a part was evaluated at; -1 for none."""
    return max((record.get("step", -1) for record in run.done(part)), default=-1)
