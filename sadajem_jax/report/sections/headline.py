"""Title, one line of facts, and the numbers of the last checkpoint that one looks for first."""

from __future__ import annotations

from collections.abc import Iterator

from sadajem_jax.report import html, names, ours
from sadajem_jax.report.html import text
from sadajem_jax.report.run import Run

# Name, the metrics of which the first that is there is shown, and its form.
TILES = (
    ("test accuracy", ("test/accuracy",), "{:.2%}"),
    ("test accuracy under noise", (names.UNDER_NOISE,), "{:.2%}"),
    ("test nll, nats", ("test/nll",), "{:.3f}"),
    ("ECE", ("calibration/ece",), "{:.2%}"),
    ("Inception Score", names.INCEPTION_SCORE, "{:.2f}"),
    ("FID", names.FID, "{:.2f}"),
)


def section(run: Run) -> str:
    """The page's head."""
    kept, left_out = ours.credited(run)
    tiles = [_tile(kept, *tile) for tile in [*TILES, *_first_set(run)]]
    below = f'\n<p class="soft">{text(left_out)}</p>' if left_out else ""
    return (
        f'<h1>{text(title(run))}</h1>\n<p class="soft">{text(_facts(run))}</p>\n'
        f'<div class="tiles">{"".join(tiles)}</div>{below}\n{html.CONTENTS}'
    )


def title(run: Run) -> str:
    """Of the page."""
    return f"{names.system(run.system)} on {names.DATA.get(run.data, run.data) or 'unknown data'}"


def _facts(run: Run) -> str:
    done = {name: r for name, r in run.pieces.items() if "not_computed" not in r}
    steps = sorted({record["step"] for record in done.values() if "step" in record})
    of = f"; checkpoint of step {' and '.join(f'{step:,}' for step in steps)}" if steps else ""
    device = next((r["hardware"] for r in run.pieces.values() if r.get("hardware")), "")
    where = f"evaluated on {device}" if device else "nothing evaluated yet"
    return f"{ours.model(run, next(iter(run.models), None))}{of}; {where}"


def _first_set(run: Run) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for label in run.ood_labels(prefix="")[:1]:
        title = f"AUROC of log p(x), {names.data_set(label)}"
        yield title, (f"ood/{label}/log_density/auroc",), "{:.3f}"


def _tile(run: Run, name: str, metrics: tuple[str, ...], form: str) -> str:
    """The last checkpoint's number, its step, and of how much of the set; "" without a number."""
    key = next((metric for metric in metrics if metric in run.metrics), None)
    if key is None:
        return ""
    subject, source = run.subjects[key], run.behind(key)
    if key == names.UNDER_NOISE:
        name += f" of {names.noise_of(source)}"
    if "num_bins" in source.get("settings", {}):
        name += f", {source['settings']['num_bins']} bins"
    share = names.share(source.get("size"))
    below = ours.which(run, subject) + (f"; {share} images" if share else "")
    if key in (*names.INCEPTION_SCORE, *names.FID):
        below = "; ".join(filter(None, [ours.which(run, subject), ours.judged(run, subject, key)]))
    kind = "soft old" if run.is_older(subject) else "soft"
    return (
        f'<div class="tile"><b>{html.cell(run.tell(key), form)}</b>'
        f'<span class="soft">{text(name)}</span><span class="{kind}">{text(below)}</span></div>'
    )
