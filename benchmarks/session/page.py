"""A session as one page: what was predicted, what came, and how each part ended."""

from __future__ import annotations

import importlib.resources
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.session.outcome import DONE
from sadajem_jax.console.words import duration
from sadajem_jax.report import html
from sadajem_jax.report.html import text

HEADER = ("", "predicted", "came", "", "came / predicted", "the prediction")
STYLE = """
main { max-width: 70rem; }
td:last-child, th:last-child { text-align: left; white-space: normal; color: var(--soft); }
td:nth-child(4) { text-align: left; padding-left: 0; color: var(--soft); }
tr.about td { font-weight: 600; color: var(--ink); padding-top: 1.1rem;
  border-bottom-color: var(--ink); }
table.parts td:nth-child(3) { white-space: nowrap; }
tr.bad td:nth-child(2) { color: #a32020; font-weight: 600; }
table.parts td:nth-child(2), table.parts th:nth-child(2) { text-align: left; white-space: nowrap; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; background: #f6f7f9;
  border-radius: 4px; padding: .6rem .8rem; margin: .3rem 0 1rem; }
.note { border-left: 3px solid var(--amber); padding: .2rem .9rem; color: var(--amber); }
"""


def of(session: Mapping[str, Any]) -> str:
    """The page of what `summary.of` returns."""
    title = f"GPU session: {session['card'] or 'no card told its name'}"
    style = importlib.resources.files("sadajem_jax.report").joinpath("style.css").read_text("utf-8")
    parts = (head(title, session), tiles(session), figures(session), ended(session["parts"]))
    body = "\n".join([*parts, setting(session)])
    return html.document(title, style + STYLE, body)


def head(title: str, session: Mapping[str, Any]) -> str:
    """Title, machine, and a warning where nothing here is about a GPU."""
    facts = session["facts"]
    cards = facts.get("nvidia_smi", [])
    driver = f", driver {cards[0]['driver_version']}" if cards else ""
    count = f"{facts['devices']} device(s), " if facts else ""
    versions = ", ".join(f"{k} {v}" for k, v in facts.get("versions", {}).items())
    about = f"{count}{versions}{driver}. Predictions are for {session['target']}. "
    made = f'<h1>{text(title)}</h1>\n<p class="soft">{text(about + session["written"])}</p>'
    if not session["small"]:
        return made
    words = (
        "Every part ran at the least size, to try the session itself: "
        "no number here is about a GPU, and none is to be compared with its prediction."
    )
    return f'{made}\n<p class="note">{words}</p>'


def tiles(session: Mapping[str, Any]) -> str:
    """How many parts are done, and the first step's time."""
    parts = session["parts"]
    done = sum(part["status"] == DONE for part in parts)
    shown = [(f"{done} of {len(parts)}", "parts done")]
    shown.append((duration(sum(part["seconds"] for part in parts)), "in all"))
    step = next((f for f in session["figures"] if f["what"] == "a step"), None)
    if step:
        shown.append((f"{_number(step['came'])} ms", f"a step: {step['about']}"))
        shown.append((_ratio(step), "came / predicted"))
    cells = "".join(
        f'<div class="tile"><b>{text(b)}</b><span>{text(s)}</span></div>' for b, s in shown
    )
    return f'<div class="tiles">{cells}</div>'


def figures(session: Mapping[str, Any]) -> str:
    """All figures in one table, under what they are about."""
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in HEADER)
    rows = "\n".join(_rows(session["figures"]))
    return (
        "<h2>Predicted, and what came</h2>\n"
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>'
        "</table></div>"
        if rows
        else "<h2>Predicted, and what came</h2>\n<p>No part has come to an end.</p>"
    )


def _rows(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for about, each in itertools.groupby(found, key=lambda f: f["about"]):
        yield f'<tr class="about"><td colspan="{len(HEADER)}">{text(about)}</td></tr>'
        for figure in each:
            cells = (
                figure["what"],
                _number(figure["predicted"]),
                _number(figure["came"]),
                figure["unit"],
                _ratio(figure),
                figure["how"],
            )
            yield "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in cells) + "</tr>"


def _number(value: float | None) -> str:
    """Three digits, thousands apart."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _ratio(figure: Mapping[str, Any]) -> str:
    if not figure["predicted"] or figure["came"] is None:
        return "–"
    return f"{figure['came'] / figure['predicted']:.2f}"


def ended(parts: Sequence[Mapping[str, Any]]) -> str:
    """How each part ended; of those that are not done, their last words."""
    rows = [
        (
            "" if part["status"] == DONE else "bad",
            (part["title"], part["status"], duration(part["seconds"]), _said(part)),
        )
        for part in parts
    ]
    return "<h2>Parts</h2>\n" + html.table(("", "", "took", "said last"), rows, kind="parts")


def _said(part: Mapping[str, Any]) -> str:
    """Of a part that is done, its tests' count; of another where to read on."""
    result = part["result"]
    if "passed" in result:
        words = f"{result['passed']} passed, {result['failed']} failed, {result['skipped']} skipped"
        failed = "; ".join(f"{name}: {why}" for name, why in result["failures"].items())
        return f"{words}. {failed}".strip()
    return f"{part['last_line']} ({part['name']}.log)" if part["status"] != DONE else ""


def setting(session: Mapping[str, Any]) -> str:
    """The commands, to run any of them alone."""
    commands = "\n".join(
        " ".join(["python", *part["argv"][1:]]) + f"    # {part['name']}"
        for part in session["parts"]
    )
    return f"<h2>Commands</h2>\n<pre>{text(commands)}</pre>"
