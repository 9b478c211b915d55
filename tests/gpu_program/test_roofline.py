"""Predicted times: closed forms, and what they must say of cards and of many of them."""

from __future__ import annotations

import pytest

from sadajem_jax.cli import config
from sadajem_jax.console.errors import UserError
from sadajem_jax.gpu_program import estimate, hlo, kernels, roofline, sharing, targets
from sadajem_jax.gpu_program.convolutions import Convolution
from sadajem_jax.gpu_program.kernels import Kernel
from sadajem_jax.gpu_program.traffic import Traffic
from sadajem_jax.training import recipes
from sadajem_jax.training.recipes import Recipe
from tests.gpu_program import stored


def kernel(touched: int, flop: int = 0, dtype: str = "bf16", depth: int = 1) -> Kernel:
    """A kernel of so many bytes, a convolution if it has operations; in a loop of 3 at depth 2."""
    made = Convolution("forward", dtype, flop) if flop else None
    trips = 3 if depth == 2 else 1
    return Kernel("k", depth, trips, Traffic(2 * touched, touched), made, "", 0, False)


def recipe(**fields: str) -> Recipe:
    """CIFAR-10's, with K = 5, in bfloat16; fields with a double underscore for the dot."""
    given = {"sgld__num_steps": "5", "model__dtype": "bfloat16"} | fields
    made = config.load("configs/cifar10.py")
    config.override(made, {name.replace("__", "."): value for name, value in given.items()})
    return recipes.of(made)


def test_a_kernel_takes_the_longest_of_operations_bytes_and_its_least_and_a_launch() -> None:
    """On an H100 544 TFLOP/s, 2.72 TB/s (1.34 in sums) or 2 us, the slowest, and then 1.4 us."""
    h100 = targets.load("h100")
    by_bytes = roofline.of([kernel(2_715_379_200, flop=1)], h100)
    assert by_bytes.convolutions == pytest.approx(1e-3) and by_bytes.launches == 1.4e-6
    by_flop = roofline.of([kernel(1, flop=543_950_000_000)], h100)
    assert by_flop.convolutions == pytest.approx(1e-3)
    tf32 = roofline.of([kernel(1, flop=272_250_000_000, dtype="f32")], h100)
    assert tf32.convolutions == pytest.approx(1e-3)
    summed = roofline.of([kernel(1_340_928_000)._replace(is_sum=True)], h100)
    assert summed.others == pytest.approx(1e-3)
    assert roofline.of([kernel(1)], h100).others == 2e-6


def test_a_message_between_machines_takes_each_card_s_part_further() -> None:
    """8 cards send 7/8 twice at 450 GB/s; 64 then an eighth of it, 7/8 twice, at 50 GB/s, later."""
    h100, size = targets.load("h100"), 292e6
    near, far = (roofline.message("all-reduce", size, h100, n) for n in (8, 64))
    assert near == pytest.approx(10e-6 + 2 * size * 7 / 8 / 450e9)
    assert far - near == pytest.approx(20e-6 + 2 * (size / 8) * 7 / 8 / 50e9)


def test_loops_multiply_and_a_block_s_preparation_is_free() -> None:
    """Three trips take three times as long; kernels outside the loop over steps take none."""
    h100 = targets.load("h100")
    once, thrice = (roofline.of([kernel(10**9, depth=d)], h100).total for d in (1, 2))
    assert thrice == pytest.approx(3 * once)
    assert roofline.of([kernel(10**9, depth=0)], h100).total == 0


def test_the_stored_step_is_all_small_kernels() -> None:
    """A WRN-10-1 on batches of 8 and 16 cannot fill a card: nine tenths are launches and the least
    that a kernel takes.
    """
    launched = kernels.of(hlo.parse(stored.text()))
    seconds = roofline.of(launched, targets.load("h100"))
    assert seconds.launches * (1 + 2 / 1.4) > 0.9 * seconds.total and 2e-3 < seconds.total < 4e-3


@pytest.mark.parametrize("name", targets.names())
def test_a_target_is_a_card_that_xla_takes(name: str) -> None:
    """Its numbers are those XLA gets, its rates in the right order, its source is named."""
    card = targets.load(name)
    assert f"device_memory_size: {card.memory_bytes}\n" in card.xla
    assert f"memory_bandwidth: {card.bytes_per_second}\n" in card.xla
    assert card.tf32_tflops < card.bfloat16_tflops
    assert "# Sources: " in (targets.FOLDER / f"{name}.toml").read_text()


def test_the_targets_are_the_five_and_another_is_refused() -> None:
    """A card that is not known is refused in one line that names those that are."""
    assert targets.names() == ["a100", "b200", "h100", "h200", "rtx4090"]
    with pytest.raises(UserError, match="a100, b200, h100, h200, rtx4090, found 'h1000'"):
        targets.load("h1000")


def test_the_estimate_without_a_compiler_is_near_what_was_counted_and_timed() -> None:
    """WRN-28-10, K = 5, bfloat16 on an H100: 48 ms of operations, 24.6 of other kernels, 4,371
    launches; timed: 75.9 ms, and 195.6 in float32 with K = 10.
    """
    seconds = estimate.seconds(recipe(), targets.load("h100"))
    assert seconds.convolutions == pytest.approx(0.0476, rel=0.01)
    assert seconds.others == pytest.approx(0.0246, rel=0.12)
    assert seconds.launches == pytest.approx(4371 * 1.4e-6, rel=0.1)
    assert seconds.total == pytest.approx(0.0759, rel=0.1)
    wide = recipe(model__dtype="float32", sgld__num_steps="10")
    assert estimate.seconds(wide, targets.load("h100")).total == pytest.approx(0.1956, rel=0.1)


def test_cards_share_the_work_and_pay_in_messages() -> None:
    """Eight take an eighth of the convolutions' time; messages and kernels around them delay."""
    h100 = targets.load("h100")
    one = estimate.seconds(recipe(), h100)
    eight = sharing.shared(one, recipe(), h100, 8)
    assert eight.convolutions == one.convolutions / 8
    gradient = 2 * (7 * 10e-6 + 2 * (7 / 8) * 4 * 36.49e6 / 450e9)
    moments = 25 * (2 * 5 + 2 * 2)  # chain steps and passes: forward and back
    assert eight.messages == pytest.approx(gradient + moments * 10e-6, rel=1e-3)
    assert eight.launches == pytest.approx(one.launches + 4 * moments * 1.4e-6)
    unnormed = sharing.shared(one, recipe(model__norm="none"), h100, 8)
    assert unnormed.messages == pytest.approx(gradient, rel=0.01)
    apart = sharing.shared(one, recipe(model__norm_groups="8"), h100, 8)
    assert apart.messages == pytest.approx(gradient, rel=0.01) and apart.launches == one.launches
    assert sharing.shared(one, recipe(), h100, 1) == one
    many = sharing.shared(one, recipe(), h100, 64)
    assert many.messages > eight.messages  # between machines


def test_sharing_is_near_what_was_compiled_for_eight_cards() -> None:
    """WRN-28-10, 64/128, bfloat16 on eight H100s has 362 messages and 4,306 kernels a step; with
    eight norm groups 14 and 2,807.
    """
    h100 = targets.load("h100")
    one = estimate.seconds(recipe(), h100)
    for groups, messages, launched in (("1", 362, 4306), ("8", 14, 2807)):
        eight = sharing.shared(one, recipe(model__norm_groups=groups), h100, 8)
        sent = messages * 10e-6 + 2 * (7 / 8) * 292.6e6 / 450e9
        assert eight.messages == pytest.approx(sent, rel=0.02)
        launches = 2720 * 1.4e-6 + eight.launches - one.launches
        assert launches == pytest.approx(launched * 1.4e-6, rel=0.06)
