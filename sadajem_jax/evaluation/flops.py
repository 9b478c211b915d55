"""Floating-point operations of any function of arrays.

An operation is a multiplication or an addition, so a multiply-accumulate is two. Convolutions and
matrix products are counted, with padded taps as full ones; norms, activations and biases are left
out. The count is read from the traced program: nothing is compiled, and any network will do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend import core


class Count(NamedTuple):
    """What a program computes.

    Attributes:
      flop: operations of its convolutions and matrix products.
      conv_outputs: elements of all its convolutions' outputs.
    """

    flop: int = 0
    conv_outputs: int = 0


def count(fn: Callable[..., Any], *shapes: Any) -> Count:
    """The operations of fn on arrays of these shapes, traced and not run.

    A scan's body counts once a step, a branch as the costliest of its switch, and the body of a
    loop whose length the program itself decides (`while_loop`) once.

    Args:
      fn: of arrays, or of pytrees of them.
      *shapes: its arguments, arrays or `jax.ShapeDtypeStruct`.

    Examples:
      >>> count(jnp.matmul, jnp.ones((2, 3)), jnp.ones((3, 5)))
      Count(flop=60, conv_outputs=0)
    """
    return _of_program(jax.make_jaxpr(fn)(*shapes).jaxpr)


def forward(network: nn.Module, image_shape: tuple[int, ...]) -> Count:
    """The operations of a network on one image (H, W, channels), in evaluation mode."""
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    return count(network.apply, variables, image)


def _of_program(jaxpr: core.Jaxpr) -> Count:
    return _sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: core.JaxprEqn) -> Count:
    name, params = equation.primitive.name, equation.params
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    if name == "dot_general":
        return _of_product(equation)
    inner = [_of_program(program) for program in _programs(params)]
    if name == "cond":
        return max(inner)
    times = params["length"] if name == "scan" else 1
    return _sum(inner * times)


def _programs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """The programs inside an equation: a loop's body, a compiled or a differentiable function."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


def _of_convolution(equation: core.JaxprEqn) -> Count:
    kernel, out = _shape(equation.invars[1]), _shape(equation.outvars[0])
    features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    taps = math.prod(kernel) // features
    # the gradient of a strided convolution spreads its input out; the zeros between cost nothing
    spread = math.prod(equation.params["lhs_dilation"])
    size = math.prod(out)
    return Count(2 * size * taps // spread, size)


def _of_product(equation: core.JaxprEqn) -> Count:
    left, out = _shape(equation.invars[0]), _shape(equation.outvars[0])
    (contracted, _), _ = equation.params["dimension_numbers"]
    terms = math.prod(left[axis] for axis in contracted)
    return Count(2 * math.prod(out) * terms)


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _sum(counts: Any) -> Count:
    flop, outputs = (sum(values) for values in zip(Count(), *counts, strict=True))
    return Count(flop, outputs)
