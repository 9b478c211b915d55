"""The attacks beside torchattacks' of the same names: step by step, then as shares that stand.

Step by step both are given the same draws; torchattacks differs from the original elsewhere (its
windows are shared by a batch, its l_2 Square pools the channels), which one image of one channel
does not show.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sadajem_jax.evaluation import autoattack
from sadajem_jax.evaluation.autoattack import driver, losses, windows
from sadajem_jax.evaluation.autoattack.apgd import _uniform, apgd
from sadajem_jax.evaluation.autoattack.campaign import STANDS, Name
from sadajem_jax.evaluation.autoattack.fab import fab
from sadajem_jax.evaluation.autoattack.projections import NORMS
from sadajem_jax.evaluation.autoattack.square import _shares, square
from tests.evaluation.autoattack import networks

torch = pytest.importorskip("torch")
torchattacks = pytest.importorskip("torchattacks")

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("default")]

TORCH_NORM = {"l_inf": "Linf", "l_2": "L2"}
EPS = {"l_inf": 0.08, "l_2": 0.4}


def in_torch(variables: dict[str, np.ndarray], dtype: Any) -> Any:
    """The `mlp` or `linear` of these variables as a module, for images NCHW."""
    layers: list[Any] = [torch.nn.Flatten()]
    for end in ("1", "2") if "w1" in variables else ("",):
        w, b = variables[f"w{end}"], variables[f"b{end}"]
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.tensor(w.T), torch.tensor(b)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).to(dtype).eval()


def nchw(images: Any) -> Any:
    """Images NHWC as a tensor NCHW."""
    return torch.tensor(np.asarray(images).transpose(0, 3, 1, 2).copy())


def nhwc(images: Any) -> np.ndarray:
    """A tensor NCHW as images NHWC."""
    return images.detach().numpy().transpose(0, 2, 3, 1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The operations are tiny: several threads only slow them down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def double() -> Iterator[None]:
    """Both in double precision, so that rounding decides no comparison."""
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True):
        yield
    torch.set_default_dtype(torch.float32)


def right_digits(dtype: Any) -> tuple[Any, Any, Any, Any]:
    """(variables, images, labels, the second best class) of digits classified rightly."""
    variables = {name: value.astype(dtype) for name, value in networks.trained_mlp().items()}
    images, labels = networks.some_digits(48)
    ranked = np.argsort(-np.asarray(networks.mlp(variables, jnp.asarray(images))), axis=1)
    right = ranked[:, 0] == labels
    return variables, images[right].astype(dtype), labels[right].astype(int), ranked[right, 1]


def assert_nearly_all(found: np.ndarray, expected: np.ndarray, atol: float = 1e-6) -> None:
    """Nine of ten rows agree: DLR's quotient may blow up rounding in one, and tip a checkpoint.

    torchattacks adds 1e-12 to norms where we do not, and whether a loss rose can hang on that.
    """
    close = np.isclose(found, expected, rtol=1e-6, atol=atol).reshape(len(found), -1).all(axis=1)
    assert close.mean() >= 0.9


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_apgd_goes_torchattacks_way(monkeypatch: pytest.MonkeyPatch, norm: str, loss: str) -> None:
    """From the same start the best loss, the images broken and the last of them are the same."""
    variables, images, labels, _ = right_digits(np.float64)
    batch = networks.rows(images, labels, eps=EPS[norm])
    draw = jax.random.normal if norm == "l_2" else _uniform
    noise = nchw(jax.vmap(lambda key: draw(key, images.shape[1:], jnp.float64))(batch.keys))
    monkeypatch.setattr(torch, "rand", lambda shape: (noise + 1) / 2)
    monkeypatch.setattr(torch, "randn", lambda shape: noise)
    theirs = torchattacks.APGD(
        in_torch(variables, torch.float64),
        norm=TORCH_NORM[norm],
        eps=EPS[norm],
        steps=100,
        loss=loss,
    )
    _, standing, best, last = theirs.attack_single_run(nchw(images), torch.tensor(labels))
    loss_fn = {"ce": losses.cross_entropy, "dlr": losses.dlr}[loss]
    found, state = networks.attacked(apgd(networks.mlp, loss_fn, norm=norm), variables, batch)
    broken = np.asarray(state.broken)
    np.testing.assert_array_equal(broken, ~standing.numpy().astype(bool))
    assert_nearly_all(np.asarray(state.loss_best), best.numpy())
    assert_nearly_all(found[broken], nhwc(last)[broken], atol=1e-4)
    assert 0.2 < broken.mean() < 0.8


@pytest.mark.usefixtures("double")
def test_targeted_apgd_goes_torchattacks_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with the targeted loss; in l_2 torchattacks gives all images one step size."""
    variables, images, labels, targets = right_digits(np.float64)
    batch = networks.rows(images, labels, targets, eps=0.08)
    noise = nchw(jax.vmap(lambda key: _uniform(key, images.shape[1:], jnp.float64))(batch.keys))
    monkeypatch.setattr(torch, "rand", lambda shape: (noise + 1) / 2)
    model = in_torch(variables, torch.float64)
    theirs = torchattacks.APGDT(model, norm="Linf", eps=0.08, steps=100)
    theirs.target_class = 2
    _, standing, best, _ = theirs.attack_single_run(nchw(images), torch.tensor(labels))
    _, state = networks.attacked(
        apgd(networks.mlp, losses.targeted_dlr, norm="l_inf"), variables, batch
    )
    np.testing.assert_array_equal(state.broken, ~standing.numpy().astype(bool))
    assert_nearly_all(np.asarray(state.loss_best), best.numpy())


@pytest.mark.parametrize("norm", NORMS)
def test_fab_goes_torchattacks_way(norm: str) -> None:
    """The distances found are the same to float32's rounding, which grows along the walk."""
    variables, images, labels, targets = right_digits(np.float32)
    model = in_torch(variables, torch.float32)
    theirs = torchattacks.FAB(
        model, norm=TORCH_NORM[norm], eps=10.0, steps=100, multi_targeted=True
    )
    theirs.target_class = 2
    with torch.no_grad():
        found = theirs.attack_single_run_targeted(nchw(images), torch.tensor(labels))
    distance = networks.sizes(nhwc(found) - images, norm)
    _, state = networks.attacked(
        fab(networks.mlp, norm=norm), variables, networks.rows(images, labels, targets, eps=10.0)
    )
    np.testing.assert_allclose(state.distance, distance, rtol=2e-2)
    assert np.median(np.abs(np.asarray(state.distance) / distance - 1)) < 1e-4


class Draws:
    """What `square` draws for its only image, handed out in torchattacks' order."""

    def __init__(self, key: jax.Array, shape: tuple[int, int, int], norm: str) -> None:
        self.key, self.shape, self.norm = key, shape, norm
        self.values = self._start() if norm == "l_inf" else self._tiles()
        self.number = 0

    def take(self, *_: Any, **__: Any) -> Any:
        """The next draw: a place, signs or a pattern."""
        try:
            return next(self.values)
        except StopIteration:
            self.number += 1
            self.values = self._query(jax.random.fold_in(self.key, self.number))
            return next(self.values)

    def _start(self) -> Iterator[Any]:
        key = jax.random.fold_in(self.key, 0)
        signs = jax.random.rademacher(key, (1, *self.shape[1:]), jnp.float64)
        yield nchw(signs[None])

    def _tiles(self) -> Iterator[Any]:
        height, width, channels = self.shape
        side = height // 5
        coin, signs = jax.random.split(jax.random.fold_in(self.key, 0))
        grid = height // side, width // side
        turned = jax.random.bernoulli(coin, shape=(*grid, 1, 1))[..., 0, 0]
        sign = jax.random.rademacher(signs, (*grid, 1, 1, channels), jnp.float32)
        for place in np.ndindex(*grid):
            yield self._pattern(side, turned[place])
            yield torch.tensor(np.float64(sign[place]).reshape(1, channels, 1, 1))

    def _query(self, key: jax.Array) -> Iterator[Any]:
        height, width, channels = self.shape
        share = _shares()[sum(self.number - 1 > n for n in (10, 50, 200, 500))]
        if self.norm == "l_inf":
            place, signs = jax.random.split(key)
            yield from map(int, windows.corner(place, height, width, windows.side(share, 10, 10)))
            yield torch.tensor(self._signs(signs).reshape(channels, 1, 1))
            return
        here, there, coin, signs = jax.random.split(key, 4)
        side = windows.odd_side(share, height, width)
        for place in (here, there):
            yield from map(int, windows.corner(place, height, width, side))
        yield self._pattern(side, jax.random.bernoulli(coin))
        yield torch.tensor(self._signs(signs).reshape(1, channels, 1, 1))

    def _signs(self, key: jax.Array) -> np.ndarray:
        return np.array(jax.random.rademacher(key, (1, 1, self.shape[2]), jnp.float64))

    def _pattern(self, side: int, turned: Any) -> Any:
        bump = np.float64(windows.bump(side))
        return torch.tensor(bump.T.copy() if turned else bump)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("norm", NORMS)
def test_square_goes_torchattacks_way(monkeypatch: pytest.MonkeyPatch, norm: str) -> None:
    """With the same draws 600 queries leave the same image, through five sizes of windows."""
    shape = (10, 10, 1)
    variables = {k: v.astype(float) for k, v in networks.random_linear(shape, 10).items()}
    images = np.random.default_rng(4).uniform(size=(1, *shape))
    logits = np.asarray(networks.linear(variables, jnp.asarray(images)))
    labels, eps = np.argmax(logits, axis=1), {"l_inf": 0.01, "l_2": 0.05}[norm]
    batch = networks.rows(images, labels, eps=eps)
    theirs = torchattacks.Square(
        in_torch(variables, torch.float64),
        norm=TORCH_NORM[norm],
        eps=eps,
        n_queries=600,
        resc_schedule=False,
    )
    draws = Draws(batch.keys[0], shape, norm)
    for name in ("random_int", "random_choice", "eta"):
        monkeypatch.setattr(theirs, name, draws.take)
    theirs.device = torch.device("cpu")
    theirs.init_hyperparam(nchw(images))
    _, expected = theirs.attack_single_run(nchw(images), torch.tensor(labels))
    attack = square(networks.linear, shape, norm=norm)._replace(num_steps=601)
    found, state = networks.attacked(attack, variables, batch)
    np.testing.assert_allclose(found, nhwc(expected), atol=1e-9)
    start = losses.margin(networks.linear(variables, attack.start(batch).x), jnp.asarray(labels))
    assert 0 < float(state.margin[0]) < float(start[0])


@pytest.mark.parametrize("side", range(1, 22))
def test_bumps_are_torchattacks_patterns(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    """A bump of any side is the pattern that torchattacks draws, unturned."""
    theirs = torchattacks.Square(in_torch(networks.random_linear((2, 2, 1), 3), torch.float32))
    theirs.device = torch.device("cpu")
    monkeypatch.setattr(torch, "rand", lambda shape: torch.zeros(shape))
    np.testing.assert_allclose(windows.bump(side), theirs.eta(side).numpy(), atol=1e-6)


def peer(name: Name, model: Any, norm: str, seed: int) -> Any:
    """The attack of the same name and numbers in torchattacks."""
    options = {"norm": TORCH_NORM[norm], "eps": EPS[norm], "seed": seed}
    if name == Name.SQUARE:
        return torchattacks.Square(model, n_queries=5000, resc_schedule=False, **options)
    if name == Name.FAB_T:
        return torchattacks.FAB(model, steps=100, multi_targeted=True, **options)
    if name == Name.APGD_T:
        return torchattacks.APGDT(model, steps=100, **options)
    return torchattacks.APGD(model, steps=100, loss="ce", **options)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", Name, ids=lambda name: name.text)
def test_no_more_stands_than_beside_torchattacks(
    monkeypatch: pytest.MonkeyPatch, name: Name, norm: str
) -> None:
    """Over three seeds our share that stands is at most theirs plus two standard errors, paired."""
    every = driver.standard
    monkeypatch.setattr(driver, "standard", lambda *a, **kw: {name: every(*a, **kw)[name]})
    variables, (images, labels) = networks.trained_mlp(), networks.some_digits(48)
    labels = labels.astype(int)
    model = in_torch(variables, torch.float32)
    more = []
    for seed in range(1 if name == Name.FAB_T else 3):  # FAB draws nothing
        result = autoattack.run(
            networks.mlp,
            variables,
            images,
            labels,
            norm=norm,
            eps=EPS[norm],
            seed=seed,
            batch_size=48,
        )
        found = peer(name, model, norm, seed)(nchw(images), torch.tensor(labels))
        theirs = model(found).argmax(dim=1).numpy() == labels
        ours = result.verdicts == STANDS
        more.append(ours.astype(float) - theirs)
        print(f"{name.text} {norm} seed {seed}: ours {ours.mean():.4f}, theirs {theirs.mean():.4f}")
        assert 0.2 < theirs.mean() < 0.9
    difference = np.concatenate(more)
    error = difference.std() / np.sqrt(difference.size)
    assert difference.mean() <= 2 * error
