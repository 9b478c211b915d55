"""The losses against values worked out by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.evaluation.autoattack import losses
from sadajem_jax.evaluation.autoattack.apgd import Loss

LOGITS = jnp.array([[4.0, 1.0, 3.0, 0.0, -1.0], [4.0, 1.0, 3.0, 0.0, -1.0]])
LABELS = jnp.array([0, 2])  # the first is classified rightly, the second as 0
TARGETS = jnp.array([2, 1])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.dlr, [-(4 - 3) / (4 - 1), -(3 - 4) / (4 - 1)]),
        (losses.targeted_dlr, [-(4 - 3) / (4 - (1 + 0) / 2), -(3 - 1) / (4 - (1 + 0) / 2)]),
        (losses.cross_entropy, np.log(np.exp([4, 1, 3, 0, -1]).sum()) - np.array([4, 3])),
    ],
)
def test_losses_by_hand(loss: Loss, expected: Any) -> None:
    """Each loss has the value that its formula gives for five logits."""
    np.testing.assert_allclose(loss(LOGITS, LABELS, TARGETS), expected, rtol=1e-6)


def test_margins_by_hand() -> None:
    """The margin is to the largest other logit, the gap to the target's; below 0 when fooled."""
    np.testing.assert_array_equal(losses.margin(LOGITS, LABELS), [1, -1])
    np.testing.assert_array_equal(losses.logit_gap(LOGITS, LABELS, TARGETS), [1, 2])


@pytest.mark.parametrize("loss", [losses.dlr, losses.targeted_dlr])
def test_dlr_knows_no_scale_and_no_shift(loss: Loss) -> None:
    """Logits times 7 plus 3 have the same DLR, and equal logits a finite one."""
    changed = loss(7 * LOGITS + 3, LABELS, TARGETS)
    np.testing.assert_allclose(changed, loss(LOGITS, LABELS, TARGETS), rtol=1e-5)
    flat = jnp.zeros((2, 5))
    assert np.isfinite(loss(flat, LABELS, TARGETS)).all()
    assert np.isfinite(jax.grad(lambda z: loss(z, LABELS, TARGETS).sum())(flat)).all()


def test_dlr_is_above_0_where_the_image_is_misclassified() -> None:
    """The signs of DLR and of the margin are opposite for random logits."""
    logits = jax.random.normal(jax.random.key(0), (100, 6))
    labels = jnp.arange(100) % 6
    dlr = losses.dlr(logits, labels, labels)
    np.testing.assert_array_equal(dlr > 0, losses.margin(logits, labels) < 0)
    np.testing.assert_array_equal(dlr > 0, jnp.argmax(logits, axis=-1) != labels)
