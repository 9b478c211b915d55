"""Measures on a GPU, in half an hour, what was predicted of it.

    tools/gpu_session.sh [--out runs/gpu_session] [--parts facts step_bfloat16_5 ...]

Writes OUT/session.json and OUT/index.html anew after every part. A part runs in a process of its
own, has its own time limit, and takes no other along; the same command goes on with those that are
not done. Without a GPU every part runs at the least size, to try the session itself.
"""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from benchmarks.session import cards, page, parts, running, summary
from benchmarks.session.outcome import DONE, NOT_BEGUN, Outcome
from benchmarks.session.parts import Part, Plan
from sadajem_jax.console import command
from sadajem_jax.console.errors import UserError
from sadajem_jax.gpu_program import targets
from sadajem_jax.workdir import files
from sadajem_jax.workdir.records import read_json

KIND = "import jax; d = jax.devices()[0]; print('cpu' if d.platform == 'cpu' else d.device_kind)"


def parser() -> command.Parser:
    """Of the session's flags."""
    found = command.Parser(prog="tools/gpu_session.sh", description=__doc__.splitlines()[0])
    found.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/gpu_session"))
    found.add_argument("--parts", nargs="+", default=[], help="all, unless named; see --list")
    found.add_argument("--again", action="store_true", help="also those that are done")
    found.add_argument("--list", action="store_true", help="names the parts and their limits")
    found.add_argument("--minutes", type=float, default=45.0, help="begin no part after these")
    found.add_argument("--small", action="store_true", help="at the least size, as without a GPU")
    found.add_argument("--target", choices=targets.names(), help="else the card that is found")
    found.add_argument("--data_dir", default="", help="prepared tensorflow-datasets, for CIFAR-10")
    found.add_argument("--training_steps", type=int, default=1000)
    return found


def main(argv: Sequence[str]) -> int:
    """Runs a session; returns 0 if every part is done or cannot be done here, else 1."""
    args = parser().parse_args(argv)
    kind = "cpu" if args.list else device_kind()
    plan = Plan(
        out=args.out,
        target=args.target or cards.target_of(kind) or "h100",
        is_small=args.small or kind == "cpu",
        data_dir=args.data_dir,
        training_steps=args.training_steps,
        device=kind,
    )
    chosen = chosen_parts(plan, args.parts)
    if args.list:
        print("\n".join(f"{part.name:28} {part.limit:4} s  {part.title}" for part in chosen))
        return 0
    signal.signal(signal.SIGTERM, leave)
    outcomes = session(plan, chosen, args.minutes * 60, again=args.again)
    print(f"session: {args.out / 'index.html'}", flush=True)
    return int(any(o.status not in summary.FINE for o in outcomes))


def leave(number: int, _: FrameType | None) -> NoReturn:
    """Ends the session after a signal, and with it the part that runs: a group of its own."""
    sys.exit(128 + number)


def chosen_parts(plan: Plan, names: Sequence[str]) -> list[Part]:
    """Those of that name, or all.

    Raises:
      UserError: if there is none of a name.
    """
    try:
        return parts.named(plan, names)
    except KeyError as error:
        there = ", ".join(part.name for part in parts.of(plan))
        raise UserError(f"--parts must be of {there}, found {error}") from error


def device_kind() -> str:
    """What JAX finds, asked in a process of its own: it would keep the card's memory."""
    done = subprocess.run([sys.executable, "-c", KIND], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"JAX does not start: {(done.stderr.splitlines() or ['no word'])[-1]}")
    return done.stdout.splitlines()[-1]


def session(plan: Plan, chosen: Sequence[Part], seconds: float, *, again: bool) -> list[Outcome]:
    """Runs parts one after another, those that are done left out; returns all there are."""
    plan.out.mkdir(parents=True, exist_ok=True)
    end, found = time.monotonic() + seconds, kept(plan)
    for part in chosen:
        if not again and is_done(found.get(part.name), part):
            continue
        print(f"{part.name}: {part.title} (at most {part.limit} s)", flush=True)
        found[part.name] = outcome = begun(part, plan.out, end)
        print(f"  {outcome.status} after {outcome.seconds:.0f} s {outcome.last_line}", flush=True)
        write(plan, found)
    write(plan, found)
    return [found[part.name] for part in chosen]


def is_done(outcome: Outcome | None, part: Part) -> bool:
    """Whether this very command came to its end before."""
    return outcome is not None and (outcome.status, outcome.argv) == (DONE, [*part.argv])


def begun(part: Part, out: pathlib.Path, end: float) -> Outcome:
    """Runs a part, if there is time for it."""
    left = end - time.monotonic()
    if left > 0:
        return running.run(part, out, min(part.limit, left))
    words = "no time was left; the same command goes on with it"
    return Outcome(
        part.name, part.title, NOT_BEGUN, 0.0, part.limit, [*part.argv], {}, last_line=words
    )


def kept(plan: Plan) -> dict[str, Outcome]:
    """What an earlier call found, in its folder, by part; of another version's parts nothing.

    Raises:
      UserError: if that was on another card.
    """
    there, names = read_json(plan.out / "session.json"), {part.name for part in parts.of(plan)}
    if (device := there.get("device", plan.device)) != plan.device:
        raise UserError(
            f"{plan.out} holds what was measured on {device}, and this is {plan.device}: give "
            f"another folder by --out"
        )
    found = [Outcome(**each) for each in there.get("parts", [])]
    return {outcome.name: outcome for outcome in found if outcome.name in names}


def write(plan: Plan, found: dict[str, Outcome]) -> None:
    """Writes the session's JSON and page anew, its parts in their order."""
    order = [part.name for part in parts.of(plan)]
    outcomes = sorted(found.values(), key=lambda o: order.index(o.name))
    made = summary.of(outcomes, plan.target, is_small=plan.is_small) | {"device": plan.device}
    files.write_json_atomically(plan.out / "session.json", made)
    files.write_text_atomically(plan.out / "index.html", page.of(made))


if __name__ == "__main__":
    sys.exit(command.run(main, sys.argv[1:]))
