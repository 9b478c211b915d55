"""Floating-point operations of one training step, counted from the shapes.

An operation is a multiplication or an addition, so a multiply-accumulate is two. Convolutions and
the linear layer are counted, with padded taps as full ones; BatchNorm, activations and biases are
left out. The count depends on shapes alone, so two programs of one step share it.
"""


def conv_flop(kernel: int, c_in: int, c_out: int, size: int) -> int:
    """FLOP of a `kernel` x `kernel` convolution with [c_out, size, size] output, for one image."""
    return 2 * kernel**2 * c_in * c_out * size**2


def block_flop(c_in: int, c_out: int, size: int, stride: int) -> int:
    """FLOP of one pre-activation block on a [c_in, size, size] input, for one image.

    The stride sits on the second convolution, so the first works at the full input size: that is
    what takes WRN-28-10 from 10.5 to 11.9 GFLOP.
    """
    out = (size - 1) // stride + 1
    changed = stride != 1 or c_in != c_out
    shortcut = conv_flop(1, c_in, c_out, out) if changed else 0
    return conv_flop(3, c_in, c_out, size) + conv_flop(3, c_out, c_out, out) + shortcut


def forward_flop(
    depth: int, width: int, num_classes: int = 10, image_size: int = 32, channels: int = 3
) -> int:
    """FLOP of one forward pass of the Wide-ResNet, for one image of `image_size` pixels a side.

    Raises:
      ValueError: `depth` is not 6n + 4 with n of at least 1.
    """
    blocks, left = divmod(depth - 4, 6)
    if left or blocks < 1:
        raise ValueError(f"depth must be 6n + 4 with n >= 1 (10, 16, 22, 28, ...), found {depth}")
    total, size = conv_flop(3, channels, 16, image_size), image_size
    channels = 16
    for stage in range(4 if image_size == 64 else 3):
        c_out = 16 * width * 2**stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            total += block_flop(channels, c_out, size, stride)
            channels, size = c_out, (size - 1) // stride + 1
    return total + 2 * channels * num_classes


def forward_equivalents(
    batch_size_px: int, batch_size_label: int, num_sgld_steps: int, rho: float
) -> int:
    """One step's work, in forward passes of one image.

    A chain step costs 2 (forward, and the gradient of the input only) for each of `batch_size_px`
    images. A pass of the objective costs 3 (forward, gradients of inputs and of parameters) for
    each of the data, negative and labelled images; SAM makes two passes, `rho` = 0 one.
    """
    chain = 2 * num_sgld_steps * batch_size_px
    passes = 2 if rho > 0 else 1
    return chain + passes * 3 * (2 * batch_size_px + batch_size_label)


def step_tflop(
    depth: int,
    width: int,
    batch_size_px: int,
    batch_size_label: int,
    num_sgld_steps: int,
    rho: float = 0.2,
    num_classes: int = 10,
    image_size: int = 32,
) -> float:
    """Operations of one whole training step, in TFLOP (10^12).

    Raises:
      ValueError: `depth` is not 6n + 4.
    """
    forwards = forward_equivalents(batch_size_px, batch_size_label, num_sgld_steps, rho)
    return forwards * forward_flop(depth, width, num_classes, image_size) / 1e12
