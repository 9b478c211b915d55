"""What attacks cost, how far they say they are, and how sure a share is."""

from __future__ import annotations

import numpy as np
import pytest

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


@pytest.mark.parametrize("first", ["apgd-ce", "fab-t 3/9"])  # that of a call which goes on
def test_progress_over_all_passes_grows_to_its_end(first: str) -> None:
    """Pass by pass, with images dropping out, all there is shrinks, and no count or share falls.

    Only the last word says that all is done: a further one would be taken for a further pass.
    """
    told: list[tuple[int, int]] = []
    heard = AllPasses(lambda *args: told.append(args), 10)
    attacked, names = 10, list(protocols.autoattack_passes(10))
    for name in names[names.index(first) :]:
        for done in np.linspace(0, attacked, 37):
            heard(name, done, attacked)
        attacked = max(1, attacked - 1)
    counts, totals, shares = zip(*((n, total, n / total) for n, total in told), strict=True)
    assert list(counts) == sorted(counts) and list(shares) == sorted(shares)
    assert list(totals) == sorted(totals, reverse=True) and totals[-1] < totals[0]
    assert (counts[0] == 0) == (first == names[0]) and [share == 1 for share in shares].count(
        True
    ) == 1 == shares[-1]


def test_wilson_s_interval_holds_the_truth_at_its_rate() -> None:
    """Of 20,000 draws of 40 images at 0.93 the interval holds 0.93 in 93 to 97 of 100."""
    shares = np.random.default_rng(0).binomial(40, 0.93, 20_000) / 40
    low, high = figures.wilson(shares, 40)
    assert 0.93 <= np.mean((low <= 0.93) & (high >= 0.93)) <= 0.97
