"""The joint loss: its terms by hand, and the sign of each gradient."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax import objective
from sadajem_jax.objective import Passes, Weights

LABELS = jnp.array([0, 2, 1, 3, 0, 2])


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """No silent change of dtype in this file."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def of_label(labels: jax.Array) -> Passes:
    """Classes of the labelled batch alone: the p(x) term is one of p(x)."""
    return Passes(None, None, (), labels)


@pytest.fixture
def logits() -> Passes:
    """Of 4 plain images, 4 negative samples and 6 augmented images, 5 classes."""
    data, neg, label = jax.random.split(jax.random.key(0), 3)
    return Passes(
        2 * jax.random.normal(data, (4, 5)),
        2 * jax.random.normal(neg, (4, 5)) + 1,
        (),
        2 * jax.random.normal(label, (6, 5)),
    )


def by_hand(logits: Passes) -> tuple[float, float, float]:
    """Mean log-densities of data and negative samples, and the cross-entropy, in float64."""
    lse = [
        np.log(np.exp(np.float64(f)).sum(-1))
        for f in (logits.data, logits.negatives, logits.labelled)
    ]
    chosen = np.asarray(logits.labelled, np.float64)[np.arange(6), np.asarray(LABELS)]
    return lse[0].mean(), lse[1].mean(), (lse[2] - chosen).mean()


@pytest.mark.parametrize(
    "weights", [Weights(), Weights(px=0.3), Weights(pyx=0.2), Weights(2.0, 0.5, 0.1), Weights(0, 1)]
)
def test_the_loss_is_the_weighted_sum_of_its_terms(logits: Passes, weights: Weights) -> None:
    """The loss is px [-(f_data - f_neg) + l2 (f_data^2 + f_neg^2)] + pyx CE, f the batches' means.

    The penalty squares the mean of a batch, which is not the mean of the squares.
    """
    f_data, f_neg, cross_entropy = by_hand(logits)
    px_term = -(f_data - f_neg) + weights.l2 * (f_data**2 + f_neg**2)
    loss, terms = objective.joint_loss(logits, of_label(LABELS), weights)
    np.testing.assert_allclose(terms.log_density_data, f_data, rtol=1e-6)
    np.testing.assert_allclose(terms.log_density_samples, f_neg, rtol=1e-6)
    of_data = np.log(np.exp(np.asarray(logits.data, np.float64)).sum(-1))
    np.testing.assert_allclose(terms.log_density_data_std, of_data.std(), rtol=1e-5)
    np.testing.assert_allclose(terms.cross_entropy, cross_entropy, rtol=1e-6)
    np.testing.assert_allclose(terms.px_term, px_term, rtol=1e-5)
    np.testing.assert_allclose(loss, weights.px * px_term + weights.pyx * cross_entropy, rtol=1e-5)


def test_the_gradient_raises_the_data_and_lowers_the_samples(logits: Passes) -> None:
    """Per row the loss's slope along equal logits is -px (1 - 2 l2 f_data) / B for data.

    It is +px (1 + 2 l2 f_neg) / B for negative samples, and 0 for labelled images, whose
    cross-entropy a shift of the logits does not change.
    """
    weights = Weights(px=0.7, pyx=1.3, l2=0.05)
    f_data, f_neg, _ = by_hand(logits)
    grads = jax.grad(lambda f: objective.joint_loss(f, of_label(LABELS), weights)[0])(logits)
    data, neg, label = (np.sum(g, axis=-1) for g in (grads.data, grads.negatives, grads.labelled))
    np.testing.assert_allclose(data, -0.7 * (1 - 0.1 * f_data) / 4, rtol=1e-4)
    np.testing.assert_allclose(neg, 0.7 * (1 + 0.1 * f_neg) / 4, rtol=1e-4)
    np.testing.assert_allclose(label, 0, atol=1e-6)


def test_the_classifier_s_gradient_is_softmax_minus_one_hot(logits: Passes) -> None:
    """The labelled logits' gradient is pyx (softmax - one-hot) / L, free of the p(x) term."""
    weights = Weights(px=3.0, pyx=0.5)
    grads = jax.grad(lambda f: objective.joint_loss(f, of_label(LABELS), weights)[0])(logits)
    expected = 0.5 * (jax.nn.softmax(logits.labelled) - jax.nn.one_hot(LABELS, 5)) / 6
    np.testing.assert_allclose(grads.labelled, expected, atol=1e-6)


def test_the_accuracy_is_the_share_classified_right(logits: Passes) -> None:
    """Four of six labels at the largest logit are an accuracy of 4/6."""
    best = jnp.argmax(logits.labelled, axis=-1)
    labels = jnp.where(jnp.arange(6) < 4, best, (best + 1) % 5)
    _, terms = objective.joint_loss(logits, of_label(labels), Weights())
    np.testing.assert_allclose(terms.accuracy, 4 / 6, rtol=1e-6)


def test_the_penalty_squares_means_or_takes_means_of_squares(logits: Passes) -> None:
    """IGEBM's form adds l2 (mean f_data^2 + mean f_neg^2), which exceeds the released one by l2

    times the variances over the batches.
    """
    lse = [np.log(np.exp(np.float64(f)).sum(-1)) for f in (logits.data, logits.negatives)]
    weights = Weights(l2=0.3, l2_form="mean_square")
    _, terms = objective.joint_loss(logits, of_label(LABELS), weights)
    squares = np.mean(lse[0] ** 2) + np.mean(lse[1] ** 2)
    expected = lse[1].mean() - lse[0].mean() + 0.3 * squares
    np.testing.assert_allclose(terms.px_term, expected, rtol=1e-5)
    _, plain = objective.joint_loss(logits, of_label(LABELS), Weights(l2=0.3))
    more = 0.3 * (lse[0].var() + lse[1].var())
    np.testing.assert_allclose(terms.px_term - plain.px_term, more, rtol=1e-4)


def test_with_classes_the_energies_are_those_of_the_classes(logits: Passes) -> None:
    """IGEBM's loss is E(x+, y+) - E(x-, y-) + mean E(x+, y+)^2 + mean E(x-, y-)^2, by hand.

    E(x, y) = -f(x)[y]; the cross-entropy is told and weighs nothing.
    """
    of_data, of_chains = jnp.array([0, 3, 1, 4]), jnp.array([2, 2, 0, 1])
    weights = Weights(pyx=0.0, l2=1.0, l2_form="mean_square")
    labels = Passes(of_data, of_chains, (), LABELS)
    loss, terms = objective.joint_loss(logits, labels, weights)
    rows = np.arange(4)
    plus = -np.asarray(logits.data, np.float64)[rows, np.asarray(of_data)]
    minus = -np.asarray(logits.negatives, np.float64)[rows, np.asarray(of_chains)]
    expected = plus.mean() - minus.mean() + (plus**2).mean() + (minus**2).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(terms.log_density_data, -plus.mean(), rtol=1e-6)
    assert terms.cross_entropy > 0


def test_without_the_streams_there_is_the_cross_entropy_alone(logits: Passes) -> None:
    """No logits of data and negatives: the loss is pyx CE, and nothing of p(x) is told."""
    alone = Passes(None, None, (), logits.labelled)
    loss, terms = objective.joint_loss(alone, of_label(LABELS), Weights(pyx=0.5))
    np.testing.assert_allclose(loss, 0.5 * by_hand(logits)[2], rtol=1e-6)
    assert set(terms.metrics()) == {"cross_entropy", "accuracy"}
