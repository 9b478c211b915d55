"""SADA-JEM's training step in PyTorch: the peer that ours is timed against.

Written from the paper and from the released program's behaviour; tests/test_benchmarks.py holds it
to what that program computed. It runs eagerly, as the released program does; `channels_last` is the
second form, the memory layout PyTorch recommends for convolutions; `compiled` gives that network to
torch.compile. Modules carry the names of the
released state dict (`f.conv1`, `f.layer1.0.bn1`, ..., `class_output`); images are NCHW in [-1, 1].

Left out, to PyTorch's advantage: the data loader, the augmentation, the copies of the replay buffer
between host and device, and the drawing of fresh rows, which are given ready-made.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Metrics = dict[str, Any]  # scalar tensors, and under "sgld" a list of images
NUM_CLASSES = 10
BUFFER_SIZE = 10_000
REINIT_PROB = 0.05


# --- the network ----------------------------------------------------------------------------------


def make_norm(channels: int, norm: str) -> nn.Module:
    """The `norm` layer ('batch' or 'none') over `channels`; any other name is a ValueError."""
    if norm == "batch":
        # PyTorch's momentum weighs the new batch: running = 0.1 * running + 0.9 * batch.
        return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.9)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"norm must be 'batch' or 'none', found {norm!r}")


def leaky_relu(x: Tensor) -> Tensor:
    """LeakyReLU of slope 0.2."""
    return F.leaky_relu(x, 0.2)


class WideBlock(nn.Module):
    """Pre-activation block: [B, c_in, H, W] -> [B, c_out, H / stride, W / stride]."""

    def __init__(self, c_in: int, c_out: int, stride: int, norm: str) -> None:
        super().__init__()
        self.bn1 = make_norm(c_in, norm)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.bn2 = make_norm(c_out, norm)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, stride=stride, padding=1)
        self.shortcut = nn.Sequential()
        if stride != 1 or c_in != c_out:
            self.shortcut.append(nn.Conv2d(c_in, c_out, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """The block; the shortcut takes the raw input."""
        h = self.conv1(leaky_relu(self.bn1(x)))
        h = self.conv2(leaky_relu(self.bn2(h)))
        return h + self.shortcut(x)


class WideResNet(nn.Module):
    """Features [B, last_dim] of images [B, 3, S, S]; a fourth stage follows at S = 64."""

    def __init__(self, depth: int, width: int, image_size: int = 32, norm: str = "batch") -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(
                f"depth must be 6n + 4 with n >= 1 (10, 16, 22, 28, ...), found {depth}"
            )
        self.num_stages = 4 if image_size == 64 else 3
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        c_in = 16
        for stage in range(self.num_stages):
            c_out, blocks = 16 * width * 2**stage, []
            for block in range((depth - 4) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(WideBlock(c_in, c_out, stride, norm))
                c_in = c_out
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.bn1 = make_norm(c_in, norm)
        self.last_dim = c_in

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, last_dim]."""
        x = self.conv1(x)
        for stage in range(self.num_stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return leaky_relu(self.bn1(x)).mean(dim=(2, 3))


class JointModel(nn.Module):
    """Logits [B, num_classes] in float32 or wider, the network inside in `compute_dtype`."""

    def __init__(
        self,
        depth: int,
        width: int,
        num_classes: int = NUM_CLASSES,
        image_size: int = 32,
        norm: str = "batch",
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.f = WideResNet(depth, width, image_size, norm)
        self.class_output = nn.Linear(self.f.last_dim, num_classes)
        self.compute_dtype = compute_dtype
        self.frozen_in_chain = False

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] -> logits [B, num_classes]."""
        if self.compute_dtype is None:
            return self.class_output(self.f(x))
        # autocast caches its copies of the weights until it is left: one region a forward, or SAM's
        # second pass would read the weights from before the perturbation.
        with torch.autocast(x.device.type, dtype=self.compute_dtype):
            return self.class_output(self.f(x)).float()

    def log_density(self, x: Tensor) -> Tensor:
        """The unnormalised log p(x) = logsumexp_y f(x)[y], [B]."""
        return self(x).logsumexp(dim=1)


# --- the replay buffer and the chain --------------------------------------------------------------


def draw(buffer: Tensor, fresh: Tensor, reinit_prob: float) -> tuple[Tensor, Tensor]:
    """Starts of the chains: buffer rows, each with probability `reinit_prob` a fresh one instead.

    Slots are drawn with replacement, as in the released program. `buffer` is [N, 3, S, S], `fresh`
    [B, 3, S, S]; returns x_init [B, 3, S, S] and slots [B].
    """
    slots = torch.randint(len(buffer), (len(fresh),), device=buffer.device)
    reinit = torch.rand(len(fresh), 1, 1, 1, device=buffer.device) < reinit_prob
    return torch.where(reinit, fresh, buffer[slots]), slots


def sample(model: JointModel, x: Tensor, num_steps: int) -> list[Tensor]:
    """The chain after each of its `num_steps` SGLD steps from `x` [B, 3, S, S], detached.

    Step size 1, no noise. BatchNorm is in training mode, so the score is the gradient of
    the batch's sum.
    """
    states = []
    with frozen(model) if model.frozen_in_chain else nullcontext():
        for _ in range(num_steps):
            x = x.detach().requires_grad_()
            (score,) = torch.autograd.grad(model.log_density(x).sum(), x)
            x = (x.detach() + score.clamp(-1, 1)).clamp(-1, 1)
            states.append(x)
    return states


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside, no parameter asks for a gradient: a compiled backward pass would compute it."""
    model.requires_grad_(False)
    try:
        yield
    finally:
        model.requires_grad_(True)


# --- the objective and SAM ------------------------------------------------------------------------


def joint_loss(
    f_data: Tensor, f_neg: Tensor, logits: Tensor, y: Tensor, l2_coeff: float
) -> tuple[Tensor, Tensor]:
    """Energy gap, its L2 penalty and cross-entropy; `f_data` and `f_neg` are batch means.

    Returns the loss and its cross-entropy, both scalars.
    """
    ce = F.cross_entropy(logits, y)
    return f_neg - f_data + l2_coeff * (f_data**2 + f_neg**2) + ce, ce


@contextmanager
def frozen_running_statistics(model: nn.Module) -> Iterator[None]:
    """Inside, BatchNorm normalises with batch statistics and moves no running ones (momentum 0)."""
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


@torch.no_grad()
def ascend(
    params: Sequence[Tensor], grads: Sequence[Tensor], rho: float, adaptive: bool
) -> tuple[list[Tensor], Tensor]:
    """Moves `params` in place to theta + eps, SAM's (or ASAM's, p = 2) worst point within `rho`.

    Returns copies of the parameters from before, and the norm that eps was scaled by.
    """
    pairs = list(zip(params, grads, strict=True))
    norms = [torch.linalg.vector_norm(p.abs() * g if adaptive else g) for p, g in pairs]
    norm = torch.linalg.vector_norm(torch.stack(norms))
    before = [p.clone() for p in params]
    for p, g in pairs:
        p.add_((p.square() * g if adaptive else g) * (rho / (norm + 1e-12)))
    return before, norm


@torch.no_grad()
def restore(params: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Puts the values `before` back into `params`, in place."""
    for p, old in zip(params, before, strict=True):
        p.copy_(old)


# --- the step -------------------------------------------------------------------------------------


def first_pass(
    model: JointModel,
    x_data: Tensor,
    x_init: Tensor,
    x_label: Tensor,
    y: Tensor,
    *,
    num_sgld_steps: int,
    l2_coeff: float,
) -> Metrics:
    """Chain, loss and gradients at theta.

    The order of the forwards (data, chain, negatives, labelled) is what the running statistics see.
    """
    f_data = model.log_density(x_data).mean()
    states = sample(model, x_init, num_sgld_steps)
    f_neg = model.log_density(states[-1] if states else x_init).mean()
    loss, ce = joint_loss(f_data, f_neg, model(x_label), y, l2_coeff)
    model.zero_grad(set_to_none=True)
    loss.backward()
    found = {"first_loss": loss, "f_data": f_data, "f_sample": f_neg, "ce": ce}
    return {name: value.detach() for name, value in found.items()} | {"sgld": states}


def second_pass(
    model: JointModel,
    x_data: Tensor,
    x_neg: Tensor,
    x_label: Tensor,
    y: Tensor,
    *,
    rho: float,
    adaptive: bool,
    l2_coeff: float,
) -> Metrics:
    """Replaces the gradients at theta by those at theta + eps, and restores the parameters."""
    params = list(model.parameters())
    grads = [p.grad for p in params if p.grad is not None]
    before, norm = ascend(params, grads, rho, adaptive)
    model.zero_grad(set_to_none=True)
    with frozen_running_statistics(model):
        f_data, f_neg = model.log_density(x_data).mean(), model.log_density(x_neg).mean()
        loss, _ = joint_loss(f_data, f_neg, model(x_label), y, l2_coeff)
        loss.backward()
    restore(params, before)
    return {"grad_norm": norm, "second_loss": loss.detach()}


def train_step(
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    x_data: Tensor,
    x_init: Tensor,
    x_label: Tensor,
    y: Tensor,
    *,
    num_sgld_steps: int,
    rho: float,
    adaptive: bool = False,
    l2_coeff: float = 0.0,
) -> Metrics:
    """One training step.

    Args:
      model: in training mode; changed in place.
      optimizer: of the model's parameters; changed in place.
      x_data: unlabelled images [B_px, 3, S, S].
      x_init: where the chains start, [B_px, 3, S, S].
      x_label: labelled images [B_label, 3, S, S].
      y: their classes [B_label], int64.
      num_sgld_steps: K.
      rho: radius of the perturbation; 0 leaves the second pass out.
      adaptive: ASAM (p = 2) in place of SAM.
      l2_coeff: weight of the squared mean log-densities.

    Returns:
      first_loss, f_data, f_sample, ce (and grad_norm, second_loss where rho > 0), scalars;
      sgld: the chain after each of its steps, a list of [B_px, 3, S, S].
    """
    metrics = first_pass(
        model, x_data, x_init, x_label, y, num_sgld_steps=num_sgld_steps, l2_coeff=l2_coeff
    )
    if rho > 0:
        x_neg = metrics["sgld"][-1] if metrics["sgld"] else x_init
        metrics |= second_pass(
            model, x_data, x_neg, x_label, y, rho=rho, adaptive=adaptive, l2_coeff=l2_coeff
        )
    optimizer.step()
    return metrics


def make_optimizer(model: nn.Module, learning_rate: float) -> torch.optim.SGD:
    """SGD as the paper has it: momentum 0.9, weight decay 5e-4."""
    return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9, weight_decay=5e-4)


# --- for timing -----------------------------------------------------------------------------------


def random_images(count: int, image_size: int, device: str, layout: torch.memory_format) -> Tensor:
    """Uniform images [count, 3, image_size, image_size] in [-1, 1], in memory order `layout`."""
    images = torch.rand(count, 3, image_size, image_size, device=device) * 2 - 1
    return images.contiguous(memory_format=layout)


def build(
    depth: int,
    width: int,
    batch_size_px: int,
    batch_size_label: int,
    num_sgld_steps: int,
    dtype: str,
    image_size: int = 32,
    rho: float = 0.2,
    *,
    channels_last: bool = False,
    compiled: bool = False,
    device: str = "cpu",
) -> Callable[[], Metrics]:
    """A step on random images that returns when its work is done on `device`.

    `dtype` is 'float32' or 'bfloat16' (autocast; the parameters stay float32). `compiled` gives the
    network's forward to torch.compile, which takes a minute or more at the first calls. Each call
    draws from a buffer of 10,000 images, trains, and writes the negatives back.

    Raises:
      ValueError: `dtype` is neither of the two.
    """
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype must be 'float32' or 'bfloat16', found {dtype!r}")
    torch.backends.cudnn.benchmark = True  # as the released program sets it
    layout = torch.channels_last if channels_last else torch.contiguous_format
    compute_dtype = torch.bfloat16 if dtype == "bfloat16" else None
    model: Any = JointModel(depth, width, image_size=image_size, compute_dtype=compute_dtype)
    model = model.to(device).to(memory_format=layout).train()
    if compiled:
        model.frozen_in_chain, model.forward = True, torch.compile(model.forward, dynamic=False)
    optimizer = make_optimizer(model, learning_rate=1e-3)
    counts = (BUFFER_SIZE, batch_size_px, batch_size_px, batch_size_label)
    buffer, fresh, x_data, x_label = (random_images(n, image_size, device, layout) for n in counts)
    y = torch.from_numpy(np.arange(batch_size_label) % NUM_CLASSES).to(device)

    def step() -> Metrics:
        x_init, slots = draw(buffer, fresh, REINIT_PROB)
        x_init = x_init.contiguous(memory_format=layout)  # gathering rows may lose the layout
        metrics = train_step(
            model, optimizer, x_data, x_init, x_label, y, num_sgld_steps=num_sgld_steps, rho=rho
        )
        if num_sgld_steps > 0:
            buffer[slots] = metrics["sgld"][-1]
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return metrics

    return step
