"""The part of an evaluation: its numbers, notes, figures and costs, on a model of known distances.

The network's logits are -|x - mean_y|^2 / 2, so that an image on the line between two means, and
far from the others, has its distance to the boundary there in closed form.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from sadajem_jax.console import processes
from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.autoattack import campaign, fab, square
from sadajem_jax.evaluation.options import read
from sadajem_jax.evaluation.parts import Piece
from sadajem_jax.evaluation.passes import Passes
from sadajem_jax.evaluation.predictions import Allowance
from sadajem_jax.evaluation.robustness import part, protocols, unfinished
from sadajem_jax.evaluation.running import Outcome, Runner
from sadajem_jax.workdir import records
from sadajem_jax.workdir.settings import flat
from tests import models

DISTANCES = (0.02, 0.06, 0.2, 0.4, 0.6, 1.1)  # to the boundary, in l_2 on the scale of [0, 1]


def of_known_distances(workdir: pathlib.Path, **overrides: Any) -> Asked:
    """An evaluation on six images at these distances, and a seventh that is misclassified."""
    config = models.settings(eval__attack_images=7, **overrides)
    model, means = models.bells()
    images, labels = [], []
    for number, distance in enumerate(DISTANCES):
        here, there = means[number], means[number + 1]
        apart = np.linalg.norm(here - there) / 2
        images.append(here + (there - here) * (0.5 - distance / apart))
        labels.append(number)
    x = np.array([*images, means[0]])
    test = Images(np.round((x + 1) * 127.5).astype(np.uint8), np.array([*labels, 5], np.int32))
    passes = Passes(model, lambda: test, batch_size=500)
    settings = flat(config.to_dict())
    return Asked(model, passes, workdir, settings, read(config.eval.to_dict()), None)


def distances(asked: Asked) -> np.ndarray:
    """[7] to the boundary, rounding to bytes and all; 0 of what is misclassified."""
    images, labels = asked.passes.test
    x = (images.astype(np.float64) / 127.5 - 1).reshape(7, 1, -1)
    means = np.array(asked.model.network.means)
    squares = np.sum((x - means) ** 2, axis=-1)
    own = squares[np.arange(7), labels]
    apart = np.linalg.norm(means[labels][:, None] - means, axis=-1)
    apart[apart == 0] = np.inf
    found = (squares - own[:, None]) / (2 * apart)
    found[np.arange(7), labels] = np.inf
    return np.maximum(found.min(axis=1), 0) / 2


class Evaluated(NamedTuple):
    """What an evaluation left."""

    outcomes: list[Outcome]
    metrics: dict[str, float]
    pieces: dict[str, Any]
    workdir: pathlib.Path


def attacks(asked: Asked) -> list[Piece]:
    """The part's pieces without the purified ones."""
    return [piece for piece in part.pieces(asked) if "purified" not in piece.name]


def evaluate(asked: Asked, *, force: bool = False) -> Evaluated:
    """Runs the part as --mode=eval does."""
    speeds: Any = None  # asked by no part that was named
    allowance = Allowance(["robustness"], speeds)
    runner = Runner(asked.workdir, asked.model, force=force, allowance=allowance)
    outcomes = runner.run(attacks(asked))
    metrics = records.read_json(asked.workdir / "metrics.json")
    return Evaluated(outcomes, metrics, records.read_pieces(asked.workdir), asked.workdir)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evaluated]:
    """The part, evaluated, with fewer iterations: a linear boundary needs no more."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fab, "ITERATIONS", 25)
        patched.setattr(square, "QUERIES", 500)
        yield evaluate(of_known_distances(tmp_path_factory.mktemp("robustness")))


def test_accuracies_are_those_of_the_distances(done: Evaluated) -> None:
    """PGD and AutoAttack in l_2 leave the images that are further away than eps, and no other."""
    assert done.outcomes == [Outcome.THERE] * 4
    true = distances(of_known_distances(done.workdir))
    np.testing.assert_allclose(true, [*DISTANCES, 0], atol=0.015)  # bytes are rounded
    for name, budget in protocols.budgets("l_2").items():
        assert np.abs(true / budget.eps - 1).min() > 0.02  # or PGD could not tell
        expected = np.mean(true > budget.eps)
        assert done.metrics[f"robustness/l_2/{name}/accuracy"] == expected, name
    assert done.metrics["robustness/l_2/clean_accuracy"] == 6 / 7
    assert done.metrics["robustness/autoattack/l_2_0.5/accuracy"] == 2 / 7
    assert done.metrics["robustness/autoattack/l_2_0.5/clean_accuracy"] == 6 / 7


def test_names_are_the_paper_s_sizes_and_the_attacks(done: Evaluated) -> None:
    """Eight sizes in both norms, three radii in l_2, and what each attack left, falling."""
    levels = {f"eps_{level}/accuracy" for level in (1, 2, 4, 8, 12, 16, 22, 30)}
    radii = {f"radius_{radius}/accuracy" for radius in (0.25, 0.5, 1.0)}
    attacks = [f"after_{name}" for name in ("apgd-ce", "apgd-t", "fab-t", "square")]
    expected = {f"robustness/l_inf/{name}" for name in levels | {"clean_accuracy"}}
    expected |= {f"robustness/l_2/{name}" for name in levels | radii | {"clean_accuracy"}}
    for ball in ("l_inf_8", "l_2_0.5"):
        names = [f"robustness/autoattack/{ball}/{name}" for name in ("clean_accuracy", *attacks)]
        shares = [done.metrics[name] for name in names]
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] == done.metrics[f"robustness/autoattack/{ball}/accuracy"]
        expected |= {*names, f"robustness/autoattack/{ball}/accuracy"}
    assert set(done.metrics) == expected


def test_autoattack_leaves_no_more_than_pgd(done: Evaluated) -> None:
    """In the same ball."""
    for ball, name in (("l_inf_8", "l_inf/eps_8"), ("l_2_0.5", "l_2/radius_0.5")):
        attacked = done.metrics[f"robustness/autoattack/{ball}/accuracy"]
        assert attacked <= done.metrics[f"robustness/{name}/accuracy"]


def test_what_is_recorded_says_how_and_on_how_many(done: Evaluated) -> None:
    """Each record has the images, their checksum, scale, search precision, seed and notes."""
    for name in ("l_inf", "l_2", "autoattack/l_inf_8", "autoattack/l_2_0.5"):
        record = done.pieces[f"robustness/{name}"]
        assert record["size"] == {"images": 7, "official": 297}
        assert record["settings"]["scale"] == "[0, 1]"
        assert record["settings"]["search"] == "float32" and record["settings"]["images"] == 7
        assert record["settings"]["seed"] == 0 and record["settings"]["checksum"]
        said = " ".join(record["notes"])
        assert "8/255" in said and "in float32" in said and "7 of the 297" in said
        assert ("larger one" in said) == ("autoattack" not in name)


def test_figures_show_curves_and_broken_images(done: Evaluated) -> None:
    """The curve has the numbers, from 0 on; the images are those that the attack broke."""
    with np.load(done.workdir / "figures" / "robustness_l_2.npz") as arrays:
        assert arrays["eps"][0] == 0 and len(arrays["eps"]) == 12
        assert arrays["accuracy"][-2] == done.metrics["robustness/l_2/radius_0.5/accuracy"]
        assert (arrays["low"] < arrays["accuracy"]).all()
        assert (arrays["high"] > arrays["accuracy"]).all()
    with np.load(done.workdir / "figures" / "autoattack_l_2_0.5.npz") as arrays:
        clean, adversarial = arrays["clean"], arrays["adversarial"]
        assert clean.shape == adversarial.shape == (4, 8, 8, 1)
        moved = np.linalg.norm((adversarial - clean).reshape(4, -1), axis=1)
        assert (moved > 0).all() and (moved <= 0.5 * (1 + 1e-5)).all()
        taken_for = dict(zip(arrays["labels"], arrays["predicted"], strict=True))
        assert taken_for == {"0": "1", "1": "2", "2": "3", "3": "4"}
    for name in ("robustness_l_inf", "robustness_l_2", "autoattack_l_2_0.5"):
        assert (done.workdir / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_done_is_not_done_again(done: Evaluated, capsys: Any) -> None:
    """The same images and settings are known again; the file of the unfinished is gone."""
    assert not (done.workdir / "unfinished").exists()
    evaluate(of_known_distances(done.workdir))
    assert capsys.readouterr().out.count("done before") == 4


class Killed(BaseException):
    """What no evaluation survives."""


@pytest.mark.parametrize(
    ("number", "file"), [(1, "pgd_l_2_last.npz"), (3, "autoattack_l_2_0.5_last.npz")]
)
def test_a_killed_attack_goes_on(
    done: Evaluated,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    file: str,
) -> None:
    """The second evaluation begins where the first was killed, and ends with the same numbers."""
    monkeypatch.setattr(campaign, "SAVE_SECONDS", 0)
    piece = attacks(of_known_distances(tmp_path))[number]
    told: list[int] = []

    def kill_later(count: int, total: int) -> None:
        told.append(count)
        if count > total // 4:
            raise Killed

    with pytest.raises(Killed):
        list(piece.run(kill_later))
    (kept,) = (tmp_path / "unfinished").iterdir()
    assert kept.name == file
    begun: list[int] = []
    items = [*piece.run(lambda n, total: begun.append(n))]
    found = {item[0]: item[1] for item in items if type(item) is tuple}
    assert unfinished.CONTINUED in items
    assert begun[0] > told[0] and found.items() <= done.metrics.items() and found
    assert not (tmp_path / "unfinished").exists()


def test_the_first_of_several_processes_deletes_what_was_kept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others, who may be done before it, leave its file."""
    kept = tmp_path / "unfinished" / "attack_last.npz"
    kept.parent.mkdir()
    kept.touch()
    for number, is_there in ((1, True), (0, False)):
        monkeypatch.setattr(processes, "_number", number)
        unfinished.forget(kept)
        assert kept.parent.exists() == kept.exists() == is_there


def test_a_search_in_bfloat16_is_said(tmp_path: pathlib.Path) -> None:
    """Settings and notes name the precision, and about the same images break."""
    asked = of_known_distances(tmp_path, eval__attack_dtype="bfloat16")
    piece = next(part.pieces(asked))
    assert piece.settings["search"] == "bfloat16"
    items = list(piece.run(lambda done, total: None))
    assert any("bfloat16" in item for item in items if isinstance(item, str))


def test_logits_that_are_no_numbers_are_a_reason(tmp_path: pathlib.Path) -> None:
    """A diverged model is said to be one, and fails no evaluation."""
    asked = of_known_distances(tmp_path)
    broken = asked._replace(model=asked.model)
    object.__setattr__(asked.model.network, "means", ((float("nan"),) * 64,) * 10)
    found = evaluate(broken)
    assert found.outcomes == [Outcome.NOT_COMPUTED] * 4
    assert "logits must be finite" in found.pieces["robustness/l_inf"]["not_computed"]
