"""What attacks cost, how far they say they are, and how sure a share is."""

from __future__ import annotations

import numpy as np

from sadajem_jax.evaluation.costs import Cost
from sadajem_jax.evaluation.robustness import figures, protocols
from sadajem_jax.evaluation.robustness.protocols import AllPasses, autoattack_cost, pgd_cost


def test_costs_count_every_pass() -> None:
    """Per image: 51 gradients in each of 8 and 11 balls; AutoAttack's by hand for 10 classes."""
    assert pgd_cost("l_inf", 2) == Cost(forwards=2 * 9, gradients=2 * 8 * 51)
    assert pgd_cost("l_2", 1) == Cost(forwards=12, gradients=11 * 51)
    gradients = 101 + 9 * 101 + 9 * 100
    forwards = 2 + 1 + 9 * 1 + 9 * 101 + 5002
    assert autoattack_cost(3, 10) == Cost(forwards=3 * forwards, gradients=3 * gradients)
    assert autoattack_cost(1, 100) == autoattack_cost(1, 10)
    assert autoattack_cost(1, 3) == Cost(forwards=2 + 1 + 2 * 101 + 5002, gradients=101 + 200)


def test_progress_over_all_passes_grows_to_its_end() -> None:
    """Pass by pass, with images dropping out, it never falls, and ends at all there is."""
    told: list[tuple[int, int]] = []
    heard = AllPasses(lambda *args: told.append(args), 10, 10)
    attacked = 10
    for name in protocols.autoattack_passes(10):
        for done in range(attacked + 1):
            heard(name, done, attacked)
        attacked = max(1, attacked - 1)
    counts = [count for count, _ in told]
    assert counts == sorted(counts) and counts[0] == 0 and told[-1][0] == told[-1][1]


def test_wilson_s_interval_holds_the_truth_at_its_rate() -> None:
    """Of 20,000 draws of 40 images at 0.93 the interval holds 0.93 in 93 to 97 of 100."""
    shares = np.random.default_rng(0).binomial(40, 0.93, 20_000) / 40
    low, high = figures.wilson(shares, 40)
    assert 0.93 <= np.mean((low <= 0.93) & (high >= 0.93)) <= 0.97
