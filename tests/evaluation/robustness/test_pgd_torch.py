"""PGD beside torchattacks' and foolbox's, with the same balls, steps and images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sadajem_jax.evaluation.autoattack.projections import NORMS
from sadajem_jax.evaluation.robustness import ascent, pgd
from tests.evaluation.autoattack import networks
from tests.evaluation.robustness.test_pgd import mlp

torch = pytest.importorskip("torch")
torchattacks = pytest.importorskip("torchattacks")
foolbox = pytest.importorskip("foolbox")

from tests.evaluation.autoattack.test_torch import (  # noqa: E402
    EPS,
    in_torch,
    nchw,
    nhwc,
    one_thread,
)

__all__ = ["one_thread"]  # a fixture for all tests of this file

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("default")]

STEPS = 50
STEP_SIZE = {norm: 2.5 * eps / STEPS for norm, eps in EPS.items()}


def torchattacks_pgd(norm: str, model: Any, x: Any, labels: Any) -> Any:
    """[N] bool: which stand after torchattacks' PGD; its last points alone are looked at."""
    options = {"eps": EPS[norm], "alpha": STEP_SIZE[norm], "steps": STEPS, "random_start": True}
    made = torchattacks.PGD if norm == "l_inf" else torchattacks.PGDL2
    return model(made(model, **options)(x, labels)).argmax(dim=1).numpy() == labels.numpy()


def foolbox_pgd(norm: str, model: Any, x: Any, labels: Any) -> Any:
    """[N] bool: which stand after foolbox's PGD."""
    made = foolbox.attacks.LinfPGD if norm == "l_inf" else foolbox.attacks.L2PGD
    attack = made(abs_stepsize=STEP_SIZE[norm], steps=STEPS, random_start=True)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    return ~attack(wrapped, x, labels, epsilons=EPS[norm])[2].numpy()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("peer", [torchattacks_pgd, foolbox_pgd], ids=lambda f: f.__name__)
def test_no_more_stands_than_beside_others(peer: Any, norm: str) -> None:
    """Over three seeds our share that stands is at most theirs plus two standard errors, paired.

    Nor is it far below: an attack of the same steps differs by its start, and by our looking at
    every point.
    """
    images, labels = networks.some_digits(96)
    model = in_torch(networks.trained_mlp(), torch.float32)
    more = []
    for seed in range(3):
        result = pgd.run(
            mlp,
            networks.trained_mlp(),
            2 * images - 1,
            labels,
            norm=norm,
            eps=EPS[norm],
            step_size=STEP_SIZE[norm],
            seed=seed,
            batch_size=96,
        )
        torch.manual_seed(seed)
        theirs = peer(norm, model, nchw(images), torch.tensor(labels.astype(int)))
        more.append(result.defended.astype(float) - theirs)
        print(f"{norm} seed {seed}: ours {result.defended.mean():.4f}, theirs {theirs.mean():.4f}")
        assert 0.2 < theirs.mean() < 0.9
    difference = np.concatenate(more)
    assert difference.mean() <= 2 * difference.std() / np.sqrt(difference.size)
    assert difference.mean() > -0.1


@pytest.mark.parametrize("norm", NORMS)
def test_steps_are_torchattacks_steps(norm: str) -> None:
    """Without a random start three gradients move every image to the same place."""
    images, labels = networks.some_digits(24)
    model = in_torch(networks.trained_mlp(), torch.float32)
    options = {"eps": 0.05, "alpha": 0.03, "steps": 3, "random_start": False}
    made = torchattacks.PGD if norm == "l_inf" else torchattacks.PGDL2
    expected = nhwc(made(model, **options)(nchw(images), torch.tensor(labels.astype(int))))
    sizes = (np.full(24, size, np.float32) for size in (0.05, 0.03))
    given: Any = (images, labels, np.zeros(24), *sizes)
    clean: Any = (images, images, np.full(24, -np.inf, np.float32), np.zeros(24, bool))
    attack = ascent.pgd(networks.mlp, norm=norm, num_steps=2, stops=False)
    attack = attack._replace(start=lambda rows: ascent.State(*clean))
    _, state = networks.attacked(attack, networks.trained_mlp(), ascent.Rows(*given))
    np.testing.assert_allclose(state.x, expected, atol=1e-5)
