"""Parameters cast once for a chain: the same forward, and only convolutions' are cast."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sadajem_jax import batch_norm
from sadajem_jax.compute_dtype import cast_once
from sadajem_jax.wide_resnet import WideResNet


def test_a_forward_is_the_same_to_the_bit() -> None:
    """Convolutions' parameters are bfloat16, all others as they were, and so are the logits."""
    network = WideResNet(10, 1, 3, dtype=jnp.bfloat16)
    x = jax.random.uniform(jax.random.key(1), (4, 8, 8, 1), minval=-1, maxval=1)
    variables = jax.jit(network.init)(jax.random.key(0), x)
    cast = cast_once(network, variables)
    for name, module in cast["params"].items():
        is_conv = module.get("kernel", x[0, 0]).ndim == 4
        expected = jnp.bfloat16 if is_conv else jnp.float32
        assert {leaf.dtype for leaf in module.values()} == {jnp.dtype(expected)}, name
    run = jax.jit(lambda variables: batch_norm.forward(network, variables, x))
    jax.tree.map(np.testing.assert_array_equal, run(cast), run(variables))


def test_without_a_type_nothing_is_cast() -> None:
    """A network that names no type for its convolutions keeps its variables."""
    variables = {"params": {"conv": {"kernel": jnp.ones((1, 1, 1, 1))}}}
    assert cast_once(object(), variables) is variables  # type: ignore[arg-type]
