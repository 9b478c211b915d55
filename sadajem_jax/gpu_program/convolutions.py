"""Which convolution a library call is, in what type, and how many operations it takes."""

from __future__ import annotations

import math
from typing import NamedTuple

from sadajem_jax.gpu_program.hlo import Computation, Instruction, arrays

# cuDNN's three directions by the name that XLA calls them with; bias, activation and residual may
# be fused into the first.
KINDS = {
    "__cudnn$convForward": "forward",
    "__cudnn$convBiasActivationForward": "forward",
    "__cudnn$convBackwardInput": "input_gradient",
    "__cudnn$convBackwardFilter": "filter_gradient",
}


class Convolution(NamedTuple):
    """A convolution.

    Attributes:
      kind: forward, input_gradient or filter_gradient.
      dtype: of its operands.
      flop: its operations, a multiply-accumulate as two, padded taps as full ones.
    """

    kind: str
    dtype: str
    flop: int


def of(call: Instruction, around: Computation) -> Convolution | None:
    """The convolution that an instruction is, or None."""
    kind = KINDS.get(call.attribute("custom_call_target") or "")
    if kind is None:
        return None
    first, second = (arrays(around[name].shape)[0] for name in call.operands[:2])
    result = arrays(call.shape)[0]
    kernel, output = {
        "forward": (second, result),
        "input_gradient": (second, first),
        "filter_gradient": (result, second),
    }[kind]
    features = _features_out(call, kernel[1])
    taps = math.prod(kernel[1]) // features
    return Convolution(kind, first[0], 2 * math.prod(output[1]) * taps)


def _features_out(call: Instruction, kernel: tuple[int, ...]) -> int:
    """The kernel's output features; dim_labels is input_kernel->output, as b01f_o01i->b01f."""
    labels = call.attribute("dim_labels") or ""
    return kernel[labels.split("_")[1].partition("->")[0].index("o")]
