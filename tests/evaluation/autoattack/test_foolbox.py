"""AutoAttack beside foolbox's strongest attacks of the same norms, on the same images."""

from __future__ import annotations

import numpy as np
import pytest

from sadajem_jax.evaluation import autoattack
from sadajem_jax.evaluation.autoattack.campaign import STANDS, Name
from sadajem_jax.evaluation.autoattack.projections import NORMS
from tests.evaluation.autoattack import networks
from tests.evaluation.autoattack.test_driver import only

torch = pytest.importorskip("torch")
foolbox = pytest.importorskip("foolbox")

from tests.evaluation.autoattack.test_torch import EPS, in_torch, nchw, one_thread  # noqa: E402

__all__ = ["one_thread"]  # a fixture for all tests of this file

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("default")]


def left_by_foolbox(norm: str, seed: int) -> np.ndarray:
    """[N] bool: which digits stand after PGD and FMN (Pintor et al. 2021), 100 steps each."""
    torch.manual_seed(seed)
    images, labels = networks.some_digits(48)
    model = foolbox.PyTorchModel(
        in_torch(networks.trained_mlp(), torch.float32), bounds=(0, 1), device="cpu"
    )
    attacks = {
        "l_inf": (foolbox.attacks.LinfPGD(steps=100), foolbox.attacks.LInfFMNAttack(steps=100)),
        "l_2": (foolbox.attacks.L2PGD(steps=100), foolbox.attacks.L2FMNAttack(steps=100)),
    }[norm]
    stands = np.ones(len(images), bool)
    for attack in attacks:
        given = nchw(images), torch.tensor(labels.astype(int))
        _, _, success = attack(model, *given, epsilons=EPS[norm])
        stands &= ~success.numpy()
    return stands


@pytest.mark.parametrize("norm", NORMS)
def test_no_more_stands_than_beside_foolbox(monkeypatch: pytest.MonkeyPatch, norm: str) -> None:
    """Over three seeds what stands after our attacks by gradients is no more, paired, to 2 s.e."""
    only(monkeypatch, Name.APGD_CE, Name.APGD_T, Name.FAB_T)
    images, labels = networks.some_digits(48)
    more = []
    for seed in range(3):
        result = autoattack.run(
            networks.mlp,
            networks.trained_mlp(),
            images,
            labels.astype(int),
            norm=norm,
            eps=EPS[norm],
            seed=seed,
            batch_size=48,
        )
        ours, theirs = result.verdicts == STANDS, left_by_foolbox(norm, seed)
        more.append(ours.astype(float) - theirs)
        print(f"{norm} seed {seed}: ours {ours.mean():.4f}, foolbox's {theirs.mean():.4f}")
        assert 0.1 < theirs.mean() < 0.9
    difference = np.concatenate(more)
    assert difference.mean() <= 2 * difference.std() / np.sqrt(difference.size)
