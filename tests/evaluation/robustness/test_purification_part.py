"""Purification as pieces of an evaluation: names, notes, cost, picture, on a model with a law."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sadajem_jax.console.errors import UserError
from sadajem_jax.data.loading import Images
from sadajem_jax.evaluation import options
from sadajem_jax.evaluation.asked import Asked
from sadajem_jax.evaluation.parts import Item, Piece, Size
from sadajem_jax.evaluation.passes import Passes
from sadajem_jax.evaluation.robustness.purification import campaign, part, picture, presets
from sadajem_jax.evaluation.robustness.purification import notes as said
from sadajem_jax.evaluation.robustness.purification.campaign import Result
from sadajem_jax.inference.pictures import to_uint8
from sadajem_jax.workdir.figure import Figure
from sadajem_jax.workdir.settings import flat
from tests import models
from tests.evaluation.robustness import purified

PURE = {"num_steps": 3, "attack_steps": 3, "images": 12}


def asked_of(workdir: pathlib.Path, **fields: Any) -> Asked:
    """An evaluation of bells on images between two of their means, near the middle."""
    config = models.settings()
    model, means = models.bells()
    labels = np.arange(30) % 10
    share = np.linspace(0.503, 0.6, 30)[:, None, None, None]
    x = share * means[labels] + (1 - share) * means[(labels + 1) % 10]
    test = Images(to_uint8(x), labels.astype(np.int32))
    passes = Passes(model, lambda: test, batch_size=64)
    read = options.read(config.eval.to_dict())
    pure = presets.PRESETS["short"]._replace(**(PURE | fields))
    read = read._replace(purification=pure, batch_size=80)
    return Asked(model, passes, workdir, flat(config.to_dict()), read, None)


def done(piece: Piece) -> list[Item]:
    """What a piece yields."""
    return list(piece.run(lambda done, total: None))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Item]]:
    """Both pieces of a model whose chain has no noise."""
    asked = asked_of(tmp_path_factory.mktemp("W"))
    return {piece.name: done(piece) for piece in part.pieces(asked)}


def numbers(items: list[Item]) -> dict[str, float]:
    """The numbers among items."""
    pairs = [item for item in items if not isinstance(item, str | Figure | Size)]
    return dict(pairs)


def notes(items: list[Item]) -> str:
    """The notes among items, in one text."""
    return " ".join(item for item in items if isinstance(item, str))


def test_two_pieces_of_these_names(found: dict[str, list[Item]]) -> None:
    """The chain under its attacks and the network alone, and how many images they are of."""
    name = "robustness/purified"
    assert list(found) == [f"{name}/chain", f"{name}/static"]
    of_chain = ("", "full_gradient/", "bpda/", "transfer/")
    keys = {
        f"{name}/chain": {f"{name}/{key}accuracy" for key in of_chain} | {f"{name}/clean_accuracy"},
        f"{name}/static": {f"{name}/static/accuracy", f"{name}/static/clean_accuracy"},
    }
    for piece, items in found.items():
        assert set(numbers(items)) == keys[piece]
        assert all(0 <= value <= 1 for value in numbers(items).values())
        assert next(item for item in items if isinstance(item, Size)).images == 12
    shares = numbers(found[f"{name}/chain"])
    assert shares[f"{name}/accuracy"] == min(shares.values()) < shares[f"{name}/clean_accuracy"]


def of(verdicts: str) -> Result:
    """What an attack found: an s for an image that stands, a b for one that it broke, or an m."""
    words = {"s": "stands", "b": "broken", "m": "misclassified"}
    said = np.array([words[letter] for letter in verdicts])
    points = np.zeros((len(said), 8, 8, 1), np.float32)
    clean, stands = (said != "misclassified").mean(), (said == "stands").mean()
    return Result(float(stands), float(clean), said, np.full(len(said), -1), points, 0, 0, 0)


def test_an_image_that_any_attack_breaks_is_broken(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full gradient, BPDA and transfer break one image each, and another is wrong: 8 of 12 stand.

    The points of the attack on the network alone are where the transfer begins, and only there.
    """
    alone = of("b" * 12)
    made = {
        "static": alone,
        "full_gradient": of("mbssssssssss"),
        "bpda": of("msbsssssssss"),
        "transfer": of("mssbssssssss"),
    }

    def attacked(asked: Asked, chosen: Any, kind: str, progress: Any, starts: Any = None) -> Result:
        assert (starts is alone.points) == (kind == "transfer")
        return made[kind]

    monkeypatch.setattr(part, "_attack", attacked)
    shares = numbers(done(next(part.pieces(asked_of(tmp_path)))))
    assert shares == {
        "robustness/purified/accuracy": 8 / 12,
        "robustness/purified/full_gradient/accuracy": 10 / 12,
        "robustness/purified/bpda/accuracy": 10 / 12,
        "robustness/purified/transfer/accuracy": 10 / 12,
        "robustness/purified/clean_accuracy": 11 / 12,
    }


def test_the_network_alone_is_attacked_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both pieces take the same attack, and the second says so; by itself it makes its own."""
    made: list[str] = []

    def attacked(asked: Asked, chosen: Any, kind: str, progress: Any, starts: Any = None) -> Result:
        made.append(kind)
        return of("mbssssssssss")

    monkeypatch.setattr(part, "_attack", attacked)
    chain, static = part.pieces(asked_of(tmp_path))
    done(chain)
    assert part.SHARED in notes(done(static)) and made.count("static") == 1
    _, static = part.pieces(asked_of(tmp_path))
    assert part.SHARED not in notes(done(static)) and made.count("static") == 2


class Killed(BaseException):
    """What no evaluation survives."""


def test_a_killed_piece_goes_on(
    found: dict[str, list[Item]], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the attack with the full gradient and in BPDA's, it ends with the same numbers.

    It says so, begins no attack again, and leaves no file.
    """
    monkeypatch.setattr(campaign, "SAVE_SECONDS", 0)
    asked = asked_of(tmp_path)

    def of_another_process() -> Piece:
        return next(part.pieces(asked))

    def kill_at(share: float) -> list[str]:
        def hear(count: int, total: int) -> None:
            if count >= share * total:
                raise Killed

        with pytest.raises(Killed):
            list(of_another_process().run(hear))
        return sorted(path.name for path in (tmp_path / "unfinished").iterdir())

    static, full = "purified_static_last.npz", "purified_full_gradient_last.npz"
    assert kill_at(0.4) == [full, static]
    assert kill_at(0.8) == ["purified_bpda_last.npz", full, static]
    begun: list[tuple[int, int]] = []
    piece = of_another_process()
    items = list(piece.run(lambda count, total: begun.append((count, total))))
    assert numbers(items) == numbers(found[piece.name])
    assert "It went on from where" in notes(items)
    assert "It went on from where" not in notes(found[piece.name])
    over = sum(part._cost(asked, kind).gradients for kind in ("static", "full_gradient"))
    assert sum(count <= over for count, _ in begun) == 2 * 5  # a word a stage, and no work
    counts = [count for count, _ in begun]
    assert counts == sorted(counts) and counts.count(begun[-1][1]) == 1 == begun[-1][1] / counts[-1]
    assert not (tmp_path / "unfinished").exists()


def test_the_notes_say_how_to_read_them(found: dict[str, list[Item]]) -> None:
    """Protocol and number of images with each; one chain where there is no noise; AutoAttack."""
    for items in found.values():
        assert "eps 8/255 of [0, 1], 3 steps of 2/255" in notes(items)
        assert "on 12 images" in notes(items)
    chain, static = (notes(items) for items in found.values())
    assert "Sigma is 0, so that all chains of an image are the same: one was run." in chain
    assert "chains of 3 steps" in chain and "worst case" in chain and "never alone" in chain
    assert "robustness/autoattack/l_inf_8" in static and "chains of" not in static


def test_chains_with_noise_are_told() -> None:
    """With noise the notes name both numbers of chains, how many points were refuted, and zeros."""
    result, hill = of("sb")._replace(refuted=7, gradients=1234, blind=5), presets.PRESETS["hill"]
    clear = result._replace(blind=0)
    text = " ".join(said.chain(hill, {"full_gradient": result, "bpda": clear}))
    assert "chains of 1,500 steps, sigma 0.01, no clips" in text
    assert "over 15 chains in the attacks and 150 fresh ones" in text
    assert "refuted 14 points" in text and "one was run" not in text
    assert "full_gradient: 5 of 1,234 gradients were zero" in text and "bpda: " not in text
    assert "gradients were zero" not in " ".join(said.chain(hill, {"bpda": clear}))
    assert "static: 5 of 1,234" in " ".join(said.static(hill, result))


def test_the_picture_has_four_rows(found: dict[str, list[Item]]) -> None:
    """Clean, attacked, and both purified, with the class seen in each."""
    figure = next(i for i in found["robustness/purified/chain"] if isinstance(i, Figure))
    images = figure.arrays["images"].astype(int)
    assert images.shape == (4, picture.SHOWN, 8, 8, 1) and images.max() <= 255
    assert figure.arrays["predicted"].shape == (4, picture.SHOWN)
    moved = np.abs(images[1] - images[0]).max(axis=(1, 2, 3))
    assert (moved > 0).all() and moved.max() <= 9  # 8/255 and a rounding
    assert (images[2] != images[0]).any() and (images[3] != images[1]).any()
    _, means = models.bells()
    levels = (means[figure.arrays["predicted"][2]] + 1) * 127.5
    assert np.abs(images[2] - levels).max() < 60  # chains end near a mean, and that is what is seen
    assert Image.open(io.BytesIO(figure.data)).size[0] > 600


def test_a_purified_point_is_that_of_the_seed() -> None:
    """One chain's end and the network's logits there; with no steps, the image itself."""
    model, x = purified.quadratic(0.4), purified.images(3)
    kernel = purified.FREE

    def run(**fields: Any) -> tuple[np.ndarray, np.ndarray]:
        settings = purified.settings(clip=False, **fields)
        seed = 1 if settings.noise_std else 0
        return picture.purified(
            purified.logits, model.variables(), x, settings, kernel=kernel, seed=seed
        )

    end, logits = run(num_steps=3)
    np.testing.assert_allclose(end.reshape(3, -1), model.end(x, 3), atol=1e-6)
    np.testing.assert_allclose(logits, purified.logits(model.variables(), end), atol=1e-5)
    np.testing.assert_array_equal(run(num_steps=0)[0], x)
    assert np.abs(run(num_steps=3, noise_std=0.1)[0] - end).std() > 0.05


def test_the_cost_is_known_before_anything_is_run(tmp_path: pathlib.Path) -> None:
    """It is of as many images as there are: each attack's, added up, and the figure's."""
    chain, static = (
        piece.cost() for piece in part.pieces(asked_of(tmp_path, images=99)) if piece.cost
    )
    assert static.gradients == 30 * 4  # 30 images, and three steps with a last look
    bpda = 30 * (4 * (3 + 1) + 2 * 3)
    full = 30 * (4 * (9 + 1) + 2 * 3)
    transfer = 30 * ((3 + 1) + 2 * 3)
    assert chain.gradients == 30 * 4 + full + bpda + transfer + 2 * picture.SHOWN * 3
    assert chain.flop == 0


def test_what_was_asked_for_is_recorded(tmp_path: pathlib.Path) -> None:
    """A piece is done again if its chain changes; the network alone has none."""

    def recorded(**fields: Any) -> list[Any]:
        return [piece.settings for piece in part.pieces(asked_of(tmp_path, **fields))]

    before, longer = recorded(), recorded(num_steps=4)
    assert before[0] != longer[0] and before[1] == longer[1]
    assert before[1] != recorded(attack_steps=4)[1]


def test_a_model_of_nan_is_not_computed(tmp_path: pathlib.Path) -> None:
    """A chain that leaves the numbers ends a piece with a line for the user."""
    asked = asked_of(tmp_path)
    kernel = asked.model.generator.kernel._replace(step_size=np.nan)
    asked.model.generator.kernel = kernel
    with pytest.raises(UserError, match="not finite: logits behind the chain"):
        done(next(part.pieces(asked)))


def test_the_search_may_be_in_bfloat16(tmp_path: pathlib.Path) -> None:
    """Then the attack follows the bfloat16 network, and float32 has the last word."""
    asked = asked_of(tmp_path, images=3, attack_steps=1)
    half = asked._replace(options=asked.options._replace(attack_dtype="bfloat16"))
    pieces = [list(part.pieces(each))[1] for each in (asked, half)]
    assert pieces[0].settings["search"] != pieces[1].settings["search"]
    assert set(numbers(done(pieces[1]))) == set(numbers(done(pieces[0])))
