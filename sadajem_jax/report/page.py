"""W/report/index.html: all that was evaluated, on one page that needs nothing else.

Plain HTML with its style and pictures inside, no script and no outside link; made anew from W's
files at every evaluation, so that it can be moved, mailed and printed.
"""

from __future__ import annotations

import base64
import html
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image

from sadajem_jax import __version__
from sadajem_jax.console.words import duration
from sadajem_jax.report import paper_numbers
from sadajem_jax.workdir import files, records

GRID_WIDTH = 456  # pixels
MIME = {".png": "image/png", ".gif": "image/gif"}
PREFIXES = {"": "the model", "best/": "best on validation", "ema/": "averaged weights"}
DATA_NAMES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn_cropped": "SVHN",
    "celeb_a": "CelebA",
    "digits": "handwritten digits",
    "cifar10_interpolated": "CIFAR-10 interpolated",
    "cifar100_interpolated": "CIFAR-100 interpolated",
    "gaussian_noise": "Gaussian noise",
}
SCORES = {
    "log_density": "log p(x)",
    "max_prob": "max p(y|x)",
    "approx_mass": "approximate mass",
}
# Where our Inception Score and FID stand, the released protocol first: that is what the paper used.
INCEPTION_SCORE = ("samples/released/inception_score", "samples/inception_score")
FID = ("samples/released/fid", "samples/fid")
OLD = "an older checkpoint than the newest evaluated"

STYLE = """
:root { color-scheme: light; --ink: #1d2433; --soft: #5b6575; --line: #dfe3e9; --ours: #eaf1fb;
  --blue: #2458a6; --amber: #8a5a00; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; line-height: 1.5;
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.2rem 1.2rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .7rem; padding-top: .9rem;
  border-top: 2px solid var(--ink); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem;
  margin: 1.4rem 0 .5rem; }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.5rem; font-weight: 600; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .35rem; }
th, td { text-align: right; padding: .32rem .8rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; border-bottom: 1.5px solid var(--ink); vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: .5rem; }
tr.ours td { background: var(--ours); font-weight: 600; }
td:first-child { min-width: 13rem; }
table.two th:nth-child(2), table.two td:nth-child(2) { text-align: left; }
.figures { display: flex; flex-wrap: wrap; gap: 1.6rem 2rem; align-items: flex-start; }
figure { margin: 0; max-width: 100%; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; border: 1px solid var(--line);
  border-radius: 4px; }
figcaption { margin-top: .4rem; overflow-wrap: anywhere; }
.old { color: var(--amber); font-weight: 600; }
code { font: .85em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.columns { columns: 20rem; column-gap: 2rem; margin: .6rem 0; }
.columns div { break-inside: avoid; border-bottom: 1px solid var(--line); padding: .1rem 0; }
.columns code:last-child { float: right; text-align: right; max-width: 60%; }
.columns div::after { content: ""; display: block; clear: both; }
ul { padding-left: 1.2rem; margin: .5rem 0; } li { margin: .25rem 0; }
@media (max-width: 40rem) { main { padding: 1.2rem .9rem 3rem; } h1 { font-size: 1.5rem; }
  th, td { padding: .3rem .5rem; } td:first-child { min-width: 8.5rem; } }
@media print { body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  .scroll { overflow: visible; break-inside: avoid; } .figures { display: block; }
  figure { margin-bottom: 1rem; } figure.grid { display: inline-block; max-width: 47%;
  margin-right: 1%; vertical-align: top; }
  figure img { width: auto; max-width: 100%; max-height: 22cm; }
  h2, h3, h2 + p, h3 + p { break-after: avoid; } tr { break-inside: avoid; }
  table { font-size: 8.5pt; } th, td { padding: .2rem .45rem; }
  tr.ours td { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
@page { margin: 16mm 14mm; }
"""


class Run(NamedTuple):
    """What W holds.

    Attributes:
      config: of the run, a nested dict.
      metrics: {name: value}.
      provenance: {name: what is behind it}.
      pieces: {piece: its record}.
      workdir: W.
    """

    config: dict[str, Any]
    metrics: dict[str, float]
    provenance: dict[str, dict[str, Any]]
    pieces: dict[str, dict[str, Any]]
    workdir: pathlib.Path


def write(workdir: pathlib.Path) -> pathlib.Path:
    """Writes W/report/index.html from W's files, replaced atomically; returns its path."""
    run = Run(
        config=_read(workdir / "config.json"),
        metrics=_read(workdir / "metrics.json"),
        provenance=_read(workdir / "metrics_provenance.json"),
        pieces=records.read_pieces(workdir),
        workdir=workdir,
    )
    sections = [
        _head(run),
        _beside_the_paper(run),
        _detection(run),
        _calibration(run),
        _figures(run),
        _not_computed(run),
        _every_number(run),
        _setting(run),
    ]
    path = workdir / "report" / "index.html"
    files.write_text_atomically(path, _page(_title(run), "\n".join(filter(None, sections))))
    return path


def _read(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{_text(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _table(
    header: Sequence[str],
    rows: Iterable[tuple[str, Sequence[str]]],
    caption: str = "",
    kind: str = "",
) -> str:
    """A table of plain texts; each row comes with its class."""
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in header)
    body = "\n".join(
        f"<tr{_class(name)}>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"
        for name, cells in rows
    )
    title = f"<caption>{_text(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table{_class(kind)}>{title}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _title(run: Run) -> str:
    name = run.config["data"]["name"]
    return f"SADA-JEM on {DATA_NAMES.get(name, name)}"


def _model(run: Run) -> str:
    model = run.config["model"]
    return f"WRN-{model['depth']}-{model['width']}, K = {run.config['sgld']['num_steps']}"


def _steps(run: Run) -> list[int]:
    return [record["step"] for record in run.pieces.values() if "not_computed" not in record]


def _head(run: Run) -> str:
    """Title, one line of facts, and the numbers one looks for first."""
    steps = sorted(set(_steps(run)))
    of = " and ".join(f"{step:,}" for step in steps) or "none"
    facts = f"{_model(run)}; checkpoint of step {of}; {_models(run)}"
    tiles = "".join(
        f'<div class="tile"><b>{_text(shown)}</b><span class="soft">{_text(name)}</span></div>'
        for name, shown in _headline(run)
    )
    return (
        f'<h1>{_text(_title(run))}</h1>\n<p class="soft">{_text(facts)}</p>\n'
        f'<div class="tiles">{tiles}</div>'
    )


def _models(run: Run) -> str:
    device = next((r["hardware"] for r in run.pieces.values() if r.get("hardware")), "")
    return f"evaluated on {device}" if device else "nothing evaluated yet"


def _headline(run: Run) -> list[tuple[str, str]]:
    metrics = run.metrics
    shown: list[tuple[str, str | None]] = [
        ("test accuracy", _number(metrics.get("test/accuracy"), "{:.2%}")),
        ("test nll, nats", _number(metrics.get("test/nll"), "{:.3f}")),
        ("ECE, 20 bins", _number(metrics.get("calibration/ece"), "{:.2%}")),
        ("Inception Score", _number(_first(metrics, INCEPTION_SCORE), "{:.2f}")),
        ("FID", _number(_first(metrics, FID), "{:.2f}")),
    ]
    for label in _ood_labels(run)[:1]:
        value = metrics.get(f"ood/{label}/log_density/auroc")
        shown.append((f"AUROC of log p(x), {_set_name(label)}", _number(value, "{:.3f}")))
    return [(name, value) for name, value in shown if value is not None]


def _first(metrics: Mapping[str, float], names: Iterable[str]) -> float | None:
    return next((metrics[name] for name in names if name in metrics), None)


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else form.format(value)


def _cell(value: float | None, form: str = "{:.4g}") -> str:
    return "–" if value is None else form.format(value)


def _fid(value: float | None) -> str:
    """With the paper's decimals: two below 10, one above."""
    return _cell(value, "{:.1f}" if value and value >= 10 else "{:.2f}")


def _ours(run: Run, has: Callable[[str], bool]) -> list[str]:
    """The prefixes of those of our models for which there is a number."""
    return [prefix for prefix in PREFIXES if has(prefix)]


def _our_name(run: Run, prefix: str, part: str) -> str:
    step = next(
        (w["step"] for key, w in run.provenance.items() if key.startswith(prefix + part)), None
    )
    which = f", {PREFIXES[prefix]}" if prefix else ""
    at = f", step {step:,}" if step is not None else ""
    return f"Ours: {_model(run)}{which}{at}"


def _beside_the_paper(run: Run) -> str:
    """Accuracy, Inception Score and FID: ours, then the paper's rows for this data set."""
    name = run.config["data"]["name"]
    rows: list[tuple[str, Sequence[str]]] = []
    for prefix in _ours(run, lambda p: f"{p}test/accuracy" in run.metrics):
        accuracy = run.metrics[f"{prefix}test/accuracy"] * 100
        score = _first(run.metrics, [prefix + key for key in INCEPTION_SCORE])
        fid = _first(run.metrics, [prefix + key for key in FID])
        cells = (_cell(accuracy, "{:.2f}"), _cell(score, "{:.2f}"), _cell(fid, "{:.2f}"))
        rows.append(("ours", (_our_name(run, prefix, "test/"), *cells)))
    paper = paper_numbers.GENERATION.get(name, ())
    rows += [("", _paper_row(row)) for row in paper]
    if not rows:
        return ""
    header = ("", "accuracy, %", "Inception Score", "FID")
    full = [i for i in range(4) if i == 0 or any(cells[i] != "–" for _, cells in rows)]
    rows = [(kind, [cells[i] for i in full]) for kind, cells in rows]
    table = _table([header[i] for i in full], rows)
    more = "" if paper else f"<p>The paper has no numbers for {_text(_set_name(name))}.</p>"
    details = _sensitivity(name)
    return f"<h2>Beside the paper</h2>\n{_differences(run)}{more}{table}{details}"


def _paper_row(row: paper_numbers.Row) -> tuple[str, ...]:
    return (
        row.system,
        _cell(row.accuracy, "{:.1f}"),
        _cell(row.inception_score, "{:.2f}"),
        _fid(row.fid),
    )


def _differences(run: Run) -> str:
    """Says where this run is not what the paper trained, as its rows then are no measure of it."""
    name = run.config["data"]["name"]
    if name not in paper_numbers.GENERATION:
        return ""
    model = run.config["model"]
    small = (model["depth"], model["width"]) != (28, 10)
    text = "The paper's rows are of a WRN-28-10 trained for 200 epochs."
    if small:
        text += f" This run's network is a WRN-{model['depth']}-{model['width']}."
    return f"<p>{_text(text)}</p>\n"


def _sensitivity(name: str) -> str:
    tables = (
        ("The paper's ablation (Table 5, K = 10)", paper_numbers.ABLATION.get(name, ())),
        ("The paper's choice of rho (Table 6, K = 10)", paper_numbers.RHO.get(name, ())),
    )
    return "\n".join(
        _table(
            ("", "accuracy, %", "FID"),
            [("", (r.system, _cell(r.accuracy, "{:.1f}"), _fid(r.fid))) for r in rows],
            caption,
        )
        for caption, rows in tables
        if rows
    )


def _ood_labels(run: Run) -> list[str]:
    """The sets there are numbers of, in the order of the config's list."""
    found = {m[1] for key in run.metrics if (m := re.search(r"(?:^|/)ood/([^/]+)/", key))}
    listed = run.config["eval"].get("ood", "").split(",")
    order = [name.strip().rpartition("/")[2].removesuffix(".npz") for name in listed]
    return sorted(found, key=lambda n: (order.index(n) if n in order else len(order), n))


def _set_name(label: str) -> str:
    return DATA_NAMES.get(label, label.replace("_", " "))


def _detection(run: Run) -> str:
    """AUROC of each score beside the paper's, then all our numbers."""
    labels = _ood_labels(run)
    if not labels:
        return ""
    paper = paper_numbers.OOD_AUROC.get(run.config["data"]["name"], {})
    tables = [_auroc_table(run, score, rows) for score, rows in paper.items()]
    notes = [n for label in labels for n in run.pieces.get(f"ood/{label}", {}).get("notes", [])]
    items = "".join(f"<li>{_text(note)}</li>" for note in dict.fromkeys(notes))
    return (
        "<h2>Detecting what was not trained on</h2>\n<p>The test set against each other set; "
        "higher is better, 0.5 is chance.</p>\n"
        f"{''.join(tables)}\n{_all_detection(run, labels)}\n<ul class='soft'>{items}</ul>"
    )


def _auroc_table(run: Run, score: str, paper: Mapping[str, tuple[float | None, ...]]) -> str:
    rows: list[tuple[str, Sequence[str]]] = []
    for prefix in _ours(run, lambda p: any(key.startswith(f"{p}ood/") for key in run.metrics)):
        keys = [f"{prefix}ood/{label}/{score}/auroc" for label in paper_numbers.OOD_SETS]
        values = [run.metrics.get(key) for key in keys]
        cells = [_cell(value, "{:.3f}") for value in values]
        rows.append(("ours", (_our_name(run, prefix, "ood/"), *cells)))
    for system, theirs in paper.items():
        rows.append(("", (system, *(_cell(value, "{:.2f}") for value in theirs))))
    header = ("", *(_set_column(run, label) for label in paper_numbers.OOD_SETS))
    return _table(header, rows, f"AUROC of the score {SCORES[score]}")


def _set_column(run: Run, label: str) -> str:
    """The set's name, and how much of it there was where that is not all."""
    notes = " ".join(run.pieces.get(f"ood/{label}", {}).get("notes", []))
    part = re.search(rf"([\d,]+ of the [\d,]+) official test images of {re.escape(label)}\b", notes)
    return _set_name(label) + (f" ({part[1].replace(' the', '')})" if part else "")


def _all_detection(run: Run, labels: list[str]) -> str:
    kinds = ("auroc", "aupr", "fpr95")
    rows = []
    for label in labels:
        for score, title in SCORES.items():
            values = [run.metrics.get(f"ood/{label}/{score}/{kind}") for kind in kinds]
            cells = [_cell(value, "{:.3f}") for value in values]
            rows.append(("", (_set_column(run, label), title, *cells)))
    header = ("set", "score", "AUROC", "AUPR", "FPR at 95% TPR")
    return _table(header, rows, "Ours, all measures; the test set is the positive class", "two")


def _calibration(run: Run) -> str:
    if not any(key.endswith("calibration/ece") for key in run.metrics):
        return ""
    rows: list[tuple[str, Sequence[str]]] = []
    names = ("ece", "ece_by_chance", "ece_unscaled", "ece_scaled")
    for prefix in _ours(run, lambda p: f"{p}calibration/ece" in run.metrics):
        values = [run.metrics.get(f"{prefix}calibration/{name}") for name in names]
        temperature = run.metrics.get(f"{prefix}calibration/temperature")
        cells = [*(_cell(value, "{:.2%}") for value in values), _cell(temperature, "{:.3f}")]
        rows.append(("ours", (_our_name(run, prefix, "calibration/"), *cells)))
    for system, value in paper_numbers.ECE.get(run.config["data"]["name"], {}).items():
        rows.append(("", (system, f"{value:.2f}%", "–", "–", "–", "–")))
    header = ("", "ECE", "by chance alone", "before scaling", "after scaling", "temperature")
    notes = run.pieces.get("calibration", {}).get("notes", [])
    return (
        "<h2>Calibration</h2>\n<p>By chance alone: the ECE that a perfectly calibrated model of "
        "these confidences would get from this many images. Before and after scaling are on the "
        f"images that the temperature was not fitted on. {_text(' '.join(notes))}</p>\n"
        f"{_table(header, rows)}"
    )


def _figures(run: Run) -> str:
    shown = [
        _figure(run, name, record, figure)
        for name, record in run.pieces.items()
        for figure in record.get("figures", [])
        if (run.workdir / figure["file"]).exists()
    ]
    figures = "\n".join(shown)
    return f'<h2>Figures</h2>\n<div class="figures">\n{figures}\n</div>' if shown else ""


def _figure(run: Run, name: str, record: Mapping[str, Any], figure: Mapping[str, str]) -> str:
    path = run.workdir / figure["file"]
    source = base64.b64encode(path.read_bytes()).decode()
    notes = " ".join(note for note in record["notes"] if "official" in note)
    caption = f"{figure['caption']} {notes} ({_behind(record)})"
    width, kind = _width(path)
    return (
        f'<figure{_class(kind)} style="width: {width}px"><img alt="{_text(figure["caption"])}" '
        f'src="data:{MIME[path.suffix]};base64,{source}">'
        f"<figcaption>{_text(caption)} Arrays: <code>{_text(path.with_suffix('.npz').name)}</code>"
        "</figcaption></figure>"
    )


def _width(path: pathlib.Path) -> tuple[int, str]:
    """In the page's pixels, and the class: plots have their inches, grids fit twice in a row."""
    with Image.open(path) as picture:
        if "dpi" in picture.info:
            return round(picture.width * 96 / picture.info["dpi"][0]), ""
        return min(picture.width, GRID_WIDTH), "grid"


def _behind(record: Mapping[str, Any]) -> str:
    which, step = str(record["checkpoint"]), f"step {record['step']:,}"
    return step if which.isdigit() else f"{which}, {step}"


def _not_computed(run: Run) -> str:
    """What could not be done, and what was never asked for."""
    items = [
        f"<li><b>{_text(name)}</b>: not computed, because {_text(record['not_computed'])}</li>"
        for name, record in run.pieces.items()
        if "not_computed" in record
    ]
    there = {name.split("/")[0] for name in run.pieces}
    for part in ("accuracy", "calibration", "ood", "samples", "curves"):
        if part not in there:
            items.append(f"<li><b>{part}</b>: not computed, because it was not asked for</li>")
    return f"<h2>Not computed</h2>\n<ul>{''.join(items)}</ul>" if items else ""


def _every_number(run: Run) -> str:
    """All of metrics.json in groups of one source, each with its checkpoint and settings."""
    groups: dict[str, list[str]] = {}
    for key in run.metrics:
        source = run.provenance.get(key)
        groups.setdefault(json.dumps(source, sort_keys=True), []).append(key)
    newest = max(_steps(run), default=0)
    blocks = [_group(json.loads(key), names, run, newest) for key, names in groups.items()]
    return "<h2>Every number</h2>\n" + "\n".join(blocks) if blocks else ""


def _group(source: dict[str, Any] | None, names: list[str], run: Run, newest: int) -> str:
    if source is None:
        title, behind = "training", "written by the training at its end"
    else:
        title = source.get("part", "training")
        settings = ", ".join(f"{k} {v}" for k, v in source.get("settings", {}).items())
        parts = [_behind(source) if "checkpoint" in source else "", settings]
        behind = "; ".join(filter(None, [*parts, *source.get("notes", [])]))
    is_old = source is not None and source.get("step", newest) < newest
    old = f' <span class="old">{OLD}</span>' if is_old else ""
    rows = [("", (name, f"{run.metrics[name]:.6g}")) for name in names]
    return f'<h3>{_text(title)}</h3>\n<p class="soft">{_text(behind)}{old}</p>\n' + _table(
        ("name", "value"), rows
    )


def _setting(run: Run) -> str:
    """Hardware and times of each piece, and the whole config."""
    rows = [
        (
            "",
            (
                name,
                _behind(record),
                duration(record["seconds"]),
                _cell(record.get("images_per_second"), "{:,.0f}"),
                record["hardware"],
                record["finished"],
            ),
        )
        for name, record in run.pieces.items()
    ]
    header = ("piece", "checkpoint", "time", "images/s", "hardware", "finished")
    fields = "".join(
        f"<div><code>{_text(name)}</code><code>{_text(value)}</code></div>"
        for name, value in _flat(run.config).items()
    )
    return (
        f"<h2>Times and hardware</h2>\n{_table(header, rows)}\n<h2>Config</h2>\n"
        f'<div class="columns">{fields}</div>\n'
        f'<p class="soft">sadajem-jax {__version__}; all numbers in float32 at the highest matrix '
        "precision, batch norm in evaluation mode unless a caption says otherwise.</p>"
    )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            fields |= _flat(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = '""' if value == "" else value
    return fields
