"""The counter on a stored program, against what the network and the step say there must be."""

from __future__ import annotations

from typing import Any

import pytest

from sadajem_jax.gpu_program import counts, hlo, kernels
from sadajem_jax.gpu_program.kernels import Kernel
from sadajem_jax.training.flops import step_tflop
from sadajem_jax.wide_resnet import WideResNet
from tests.gpu_program import stored

LAYERS = 9  # convolutions of WRN-10-1: the first, two a block, two shortcuts
PX, LABEL, K, PASSES = 8, 16, 2, 2


@pytest.fixture(scope="module")
def launched() -> list[Kernel]:
    """The kernels of the stored program."""
    return kernels.of(hlo.parse(stored.text()))


@pytest.fixture(scope="module")
def found(launched: list[Kernel]) -> dict[str, Any]:
    """Its counts."""
    return counts.of(launched, K)


def test_every_convolution_is_found_in_its_type_and_kind(found: dict[str, Any]) -> None:
    """Forward: K + 3 batches x 2 passes; input gradients alike, the first layer's in chains alone;
    filter gradients in the passes alone, and all in bfloat16.
    """
    forwards = K + 3 * PASSES
    assert found["convolutions"] == {
        "bf16": {
            "forward": LAYERS * forwards,
            "input_gradient": LAYERS * forwards - 3 * PASSES,
            "filter_gradient": LAYERS * 3 * PASSES,
        }
    }
    assert found["filter_gradients_in_chain"] == 0


def test_operations_are_those_counted_from_the_shapes(found: dict[str, Any]) -> None:
    """They differ by the first layer's input gradients, which no pass takes, and the head."""
    network = WideResNet(10, 1, 10)
    whole = 1e12 * step_tflop(network, (32, 32, 3), PX, LABEL, K)
    first = PASSES * (2 * PX + LABEL) * 2 * 27 * 16 * 32**2
    head = (2 * K * PX + 3 * PASSES * (2 * PX + LABEL)) * 2 * 64 * 10
    assert 1e12 * found["convolution_tflop"] == pytest.approx(whole - first - head, rel=1e-9)


def test_a_loop_counts_its_trips(found: dict[str, Any], launched: list[Kernel]) -> None:
    """A step's launches are its own and K times the chain's; a block's preparation is apart."""
    depths = [kernel.depth for kernel in launched]
    assert set(depths) == {0, 1, 2} and {k.trips for k in launched if k.depth == 2} == {K}
    assert found["kernels_per_chain_step"] == depths.count(2)
    assert found["kernels_per_step"] == depths.count(1) + K * depths.count(2)
    assert found["kernels_per_block"] == depths.count(0)


def test_picked_rows_are_touched_and_the_rest_is_not(found: dict[str, Any]) -> None:
    """Of the data set (two gathers) and the buffer (read; written in place: twice) rows move."""
    images, buffer = 50_000 * 3072, 10_000 * 4 * 3072
    spared = 1e9 * (found["gigabytes_per_step"] - found["gigabytes_touched_per_step"])
    assert spared == pytest.approx(2 * images + 3 * buffer, rel=0.01)


def test_small_kernels_and_copies_are_part_of_the_whole(found: dict[str, Any]) -> None:
    """At this size most kernels move under a megabyte; one card sends no message."""
    assert 0.8 * found["kernels_per_step"] < found["small_kernels_per_step"]
    assert 0 < found["layout_copies"] < found["small_kernels_per_step"]
    assert found["collectives"] == {"in_chain": {}, "outside_chain": {}}
    assert 0 < found["convolution_gigabytes"] < found["gigabytes_touched_per_step"]
