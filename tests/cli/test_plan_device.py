"""The plan for a card that is not there, where its compiler is not either."""

from __future__ import annotations

import pytest

import main
from sadajem_jax.gpu_program import absent, estimate, prediction, program, targets
from sadajem_jax.training import memory
from tests.cli.test_plan import recipe

PLAN = ["--config=configs/cifar10.py", "--mode=plan"]
BFLOAT16 = ["--config.model.dtype=bfloat16", "--config.sgld.num_steps=5"]


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without requirements-cuda.txt."""
    monkeypatch.setattr(absent, "is_installed", lambda: False)


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed, in lines of at most 100 characters; here each is whole again."""
    out = capsys.readouterr().out
    assert all(len(line) <= 100 for line in out.splitlines())
    return out.replace("\n  ", " ").splitlines()


def test_a_plan_for_a_card_says_fit_time_and_gain(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the card, that it estimates, whether the run fits, its time, and what 8 gain."""
    assert main.main([*PLAN, *BFLOAT16, "--device=h100", "--devices=8"]) == 0
    out = "\n".join(printed(capsys))
    assert "caution" not in out  # of float32's peak
    for words in ("card: H100", "estimated from shapes", "requirements-cuda.txt", "; fits the"):
        assert words in out
    assert "time, predicted: 8" in out and "8 cards, by arithmetic" in out
    assert "on each of 8 cards: memory: " in out


def test_a_classifier_s_estimate_has_no_chain() -> None:
    """Without weight of p(x) neither K nor that stream's batch counts, and a step takes less."""
    card = targets.load("h100")
    plain = estimate.seconds(recipe(), card)
    off, long = (
        estimate.seconds(recipe(objective__px_weight=0.0, **fields), card)
        for fields in ({}, {"sgld__num_steps": 50, "train__batch_size_px": 512})
    )
    assert off == long and off.total < plain.total / 2


def test_what_a_card_cannot_hold_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Batches of 1,024 and 2,048 in float32 do not fit an RTX 4090, and the plan says so."""
    batches = ["--config.train.batch_size_px=1024", "--config.train.batch_size_label=2048"]
    batches += ["--config.model.dtype=float32"]
    assert main.main([*PLAN, *batches, "--device=rtx4090"]) == 0
    out = capsys.readouterr().out
    assert "does not fit" in out and "or set config.train.micro_batches" in out


def test_a_plan_in_float32_says_what_a_card_took(capsys: pytest.CaptureFixture[str]) -> None:
    """The peak that was measured stands beside the count, and whether as much more fits here."""
    float32 = [*PLAN, "--config.model.dtype=float32"]
    assert main.main([*float32, "--device=h100"]) == 0
    (line,) = [line for line in printed(capsys) if "caution" in line]
    assert "took 11.9 GB at its peak, where 6.5 were counted" in line and line.endswith(
        "which fits"
    )
    wide = ["--config.train.batch_size_px=256", "--config.train.batch_size_label=256"]
    assert main.main([*float32, *wide, "--device=rtx4090"]) == 0
    memory_line, line = printed(capsys)[-3:-1]
    assert "; fits the" in memory_line and line.endswith("which does not fit")


def test_the_estimated_memory_is_near_xla_s() -> None:
    """WRN-28-10: XLA counts 0.57 GB of arguments and 3.05 GB (bfloat16) or 6.06 of temporaries."""
    for dtype, counted in (("bfloat16", 3.62e9), ("float32", 6.63e9)):
        made = program.in_gpu_form(recipe(model__dtype=dtype))
        assert memory.estimate(made).total == pytest.approx(counted, rel=0.05)


def test_sixty_four_cards_share_what_one_cannot_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """Batches of 4,096 and 8,192 in bfloat16: too much for one H100, a 64th of it for each."""
    batches = ["--config.train.batch_size_px=4096", "--config.train.batch_size_label=8192"]
    shards = ["--config.buffer.num_shards=64", "--config.buffer.size=10240"]
    flags = [*PLAN, *BFLOAT16, *batches, *shards, "--device=h100", "--devices=64"]
    assert main.main(flags) == 0
    one, each = (line for line in printed(capsys) if "memory: " in line)
    assert "does not fit" in one and each.startswith("on each of 64 cards") and "; fits" in each
    assert one.endswith("lower the batches or take more cards")  # no micro-batches on several


def test_a_card_s_memory_is_what_jax_takes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three quarters, or what the variable says."""
    h100 = targets.load("h100")
    monkeypatch.delenv(prediction.SHARE_VARIABLE, raising=False)
    assert prediction.usable(h100) == int(0.75 * h100.memory_bytes)
    monkeypatch.setenv(prediction.SHARE_VARIABLE, "0.9")
    assert prediction.usable(h100) == int(0.9 * h100.memory_bytes)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--device=h1000"], "--device must be one of a100, b200, h100, h200, rtx4090"),
        (["--devices=8"], "--devices needs --device"),
        (["--device=h100", "--devices=two"], "--devices must be a whole number"),
        (["--device=h100", "--devices=3"], "--config.train.batch_size_label=129, or --devices=2"),
        (["--device=h100", "--for=eval"], "--device is for the plan of a training"),
    ],
)
def test_mistakes_are_one_line(
    flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is refused with exit status 2 and a line that says what to give."""
    assert main.main([*PLAN, *flags]) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1


def test_device_belongs_to_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere it is refused."""
    assert main.main(["--config=configs/digits.py", "--device=h100"]) == 2
    assert "--device belongs to --mode=plan" in capsys.readouterr().err
