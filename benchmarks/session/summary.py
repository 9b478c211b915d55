"""What the parts of a session say together: each figure beside what was predicted of it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.session.outcome import DONE, NOT_HERE, Outcome
from sadajem_jax.evaluation.robustness import protocols
from sadajem_jax.gpu_program import roofline, targets
from sadajem_jax.gpu_program.targets import Target

FINE = (DONE, NOT_HERE)

Results = Mapping[str, Any]
"""Part -> the JSON object that it printed; of those that are done."""


class Figure(NamedTuple):
    """One figure.

    Attributes:
      about: what it belongs to.
      what: its name.
      unit: of both values.
      predicted: beforehand; None: nothing was.
      came: measured.
      how: where the prediction is from, or what else is to be known.
    """

    about: str
    what: str
    unit: str
    predicted: float | None
    came: float | None
    how: str = ""


def of(outcomes: Sequence[Outcome], target: str, *, is_small: bool) -> dict[str, Any]:
    """All of a session as one JSON object.

    Args:
      outcomes: of the parts.
      target: the card that predictions are for.
      is_small: whether it ran at the least size, where predictions mean nothing.
    """
    results = {o.name: o.result for o in outcomes if o.status == DONE}
    card = targets.load(target)
    return {
        "card": results.get("facts", {}).get("device_kind", ""),
        "target": target,
        "small": is_small,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "facts": results.get("facts", {}),
        "figures": [figure._asdict() for figure in figures(results, card)],
        "parts": [outcome._asdict() for outcome in outcomes],
    }


def figures(results: Results, card: Target) -> Iterator[Figure]:
    """Every figure of the parts that are done, in the page's order."""
    for name, found in results.items():
        if name.startswith("step_") and not name.endswith("_det"):
            yield from of_step(found, results.get(f"program_{name.removeprefix('step_')}"))
    yield from of_profile(results.get("profile", {}))
    yield from deterministic(results)
    for name, found in results.items():
        if name.startswith("peers_"):
            yield from of_peers(found)
    yield from of_ceilings(results.get("ceilings", {}), card)
    yield from of_evaluation(results.get("evaluation", {}))
    yield from of_attack(results.get("attack", {}), results.get("evaluation", {}))
    yield from of_training(results.get("training", {}))


def of_step(found: Mapping[str, Any], apart: Mapping[str, Any] | None) -> Iterator[Figure]:
    """A step's time and memory."""
    about = f"{_step_name(found)}"
    came, predicted = 1e3 * found["block_step_seconds"], found["predicted"]
    if predicted:
        own = 1e3 * predicted["predicted_step_seconds"]
        how = "from the kernels of the program that was timed"
        yield Figure(about, "a step", "ms", own, came, how)
    if apart:
        how = "from the program compiled apart from the card"
        yield Figure(about, "a step", "ms", 1e3 * apart["predicted_step_seconds"], came, how)
    estimated = 1e3 * sum(found["estimated"].values())
    yield Figure(about, "a step", "ms", estimated, came, "from the shapes alone")
    single = 1e3 * found["single_step_seconds"]
    yield Figure(
        about, "a block of one step", "ms", None, single, "what a dispatch costs beside it"
    )
    yield Figure(about, "the step's rate", "TFLOP/s", None, found["tflop_per_second"])
    yield Figure(about, "its compilation", "s", None, found["compile_seconds"])
    yield from of_memory(about, found["memory"])


def of_memory(about: str, memory: Mapping[str, Any]) -> Iterator[Figure]:
    """The peak beside XLA's count and the plan's estimate."""
    peak = memory["peak"] and memory["peak"] / 1e9
    for name, how in (("by_xla", "XLA's count of the program"), ("estimate", "the plan's")):
        if memory[name]:
            yield Figure(about, "peak memory", "GB", memory[name] / 1e9, peak, how)


def of_profile(found: Mapping[str, Any]) -> Iterator[Figure]:
    """A step's time by what it goes into."""
    if not found:
        return
    about = f"{_step_name(found)}, on the device"
    came, predicted = found["seconds_of"], found["predicted"]
    for kind in ("convolutions", "others"):
        words = f"{kind.removesuffix('s')} kernels" if kind == "others" else kind
        yield Figure(about, words, "ms", 1e3 * predicted[kind], 1e3 * came.get(kind, 0.0))
    if came.get("unnamed"):
        how = "kernels that the profiler has no name for"
        yield Figure(about, "unnamed", "ms", None, 1e3 * came["unnamed"], how)
    launches = 1e3 * predicted["launches"]
    yield Figure(about, "between kernels", "ms", launches, 1e3 * came["idle"], "launches")


def deterministic(results: Results) -> Iterator[Figure]:
    """What `config.deterministic` costs a step."""
    for name, found in results.items():
        plain = results.get(name.removesuffix("_det"), {})
        if name.endswith("_det") and plain:
            ratio = found["block_step_seconds"] / plain["block_step_seconds"]
            yield Figure(_step_name(found), "deterministic, over the plain step", "", None, ratio)


def of_peers(found: Mapping[str, Any]) -> Iterator[Figure]:
    """PyTorch's seconds beside ours of the same rounds, one step a dispatch."""
    about = f"{_step_name(found)}, beside PyTorch {found['torch_version']}"
    yield Figure(about, "ours", "ms", None, 1e3 * found["ours_seconds"])
    forms = [name.removeprefix("ratio_") for name in found if name.startswith("ratio_")]
    for form in forms:
        if form.endswith("_of_min"):
            continue
        how = f"{found[f'ratio_{form}']:.2f} of ours"
        words = f"PyTorch, {form.replace('_', ' ')}"
        yield Figure(about, words, "ms", None, 1e3 * found[f"{form}_seconds"], how)


def of_ceilings(found: Mapping[str, Any], card: Target) -> Iterator[Figure]:
    """The roofline's constants beside what the card reaches with nothing in the way."""
    if not found:
        return
    about = "The card's ceilings, and what the prediction takes of them"
    peaks = {"bfloat16": card.bfloat16_tflops, "float32": card.tf32_tflops}
    for dtype, rate in found["matmul_tflops"].items():
        how = f"{roofline.PEAK_SHARE} of the data sheet's {peaks[dtype]:g}, for convolutions"
        taken = roofline.PEAK_SHARE * peaks[dtype]
        yield Figure(about, f"a large product, {dtype}", "TFLOP/s", taken, rate, how)
    taken = roofline.BANDWIDTH_SHARE * card.bytes_per_second / 1e12
    copied = found["copy_bytes_per_second"] / 1e12
    how = f"{roofline.BANDWIDTH_SHARE} of the data sheet's {card.bytes_per_second / 1e12:.2f}"
    yield Figure(about, "a large copy", "TB/s", taken, copied, how)
    least = 1e6 * (roofline.LAUNCH_SECONDS + roofline.KERNEL_SECONDS)
    how = "its launch and the least that it runs"
    yield Figure(about, "a small kernel", "us", least, 1e6 * found["launch_seconds"], how)


def of_evaluation(found: Mapping[str, Any]) -> Iterator[Figure]:
    """Images a second of the two passes that evaluations are counted in."""
    about = f"Evaluation, {_network(found)}, float32 at the highest precision" if found else ""
    for name, rate in found.get("images_per_second", {}).items():
        how = "the same share of a large product at that precision, timed beside it"
        predicted = found["predicted_images_per_second"][name]
        yield Figure(about, f"a {name} pass", "images/s", predicted, rate, how)


def of_attack(found: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Iterator[Figure]:
    """Each of AutoAttack's attacks beside the plan's count of passes at the rates just measured."""
    if not found:
        return
    about = f"AutoAttack, {_network(found)}, {found['norm']}, images that stand"
    passes, rates = protocols.autoattack_passes(10), evaluation.get("images_per_second")
    for name, rate in found["images_per_second"].items():
        costs = [cost for key, cost in passes.items() if key.split()[0] == name]
        predicted = None
        if rates and _network(found) == _network(evaluation):
            times = [c.forwards / rates["forward"] + c.gradients / rates["gradient"] for c in costs]
            predicted = 1 / sum(times)
        how = "the plan's passes at the rates measured above" if predicted else ""
        yield Figure(about, name, "images/s", predicted, rate, how)


def of_training(found: Mapping[str, Any]) -> Iterator[Figure]:
    """What a short training reached."""
    if not found:
        return
    about = f"A training of {found['steps']} steps on {found['data']}"
    if found["accuracy"] is not None:
        yield Figure(about, "accuracy on the test set", "%", None, 100 * found["accuracy"])
    yield Figure(
        about, "the training", "s", None, found["training_seconds"], "compilation included"
    )
    yield Figure(about, "its evaluation", "s", None, found["evaluation_seconds"], found["report"])


def _network(found: Mapping[str, Any]) -> str:
    return f"WRN-{found.get('depth')}-{found.get('width')}"


def _step_name(found: Mapping[str, Any]) -> str:
    sizes = f"{found['batch_size_px']}/{found['batch_size_label']}"
    return f"{_network(found)}, {sizes}, {found['dtype']}, K = {found['num_sgld_steps']}"
