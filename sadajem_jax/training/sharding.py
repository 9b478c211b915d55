"""The devices that share a run's batches: the only place that knows of a mesh.

Rows lie in equal parts, one a device: those of a feed, and with them images, chains and
activations, and the replay buffer, whose strata of a device are those that its rows draw from.
All else lies whole on every device and is made there: the data set, fresh rows, parameters. So no
image leaves its device; gradients, losses and batch norm's moments are summed over them.

The devices are those of all processes of the run. Each process makes the same calls in the same
order, and places the same values, of which it keeps what its own devices hold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sadajem_jax.step_inputs import Feed
from sadajem_jax.train_state import TrainState
from sadajem_jax.training import dividing
from sadajem_jax.training.recipes import Recipe
from sadajem_jax.wide_resnet import WideResNet

AXIS = "batch"
Over = Mesh | None
"""The devices of a run in a row; None: one, which is the default one, and nothing is placed."""


def mesh_of(recipe: Recipe) -> Over:
    """As many devices of the run as the recipe is shared out over, see `shared`."""
    parts = recipe.constants.shares.parts
    return Mesh(np.array(jax.devices()[:parts]), (AXIS,)) if parts > 1 else None


def of_program(over: Over, *, is_looped: bool) -> dict[str, Any]:
    """Where arguments and results of `runner.program` lie, as `jax.jit` takes it."""
    if over is None:
        return {}
    whole, state = _placement(over), state_on(over)
    arguments = (state, feed_on(over), whole, whole) + (whole,) * is_looped
    return {"in_shardings": arguments, "out_shardings": (state, whole)}


def placed(tree: Any, placement: Any) -> Any:
    """The tree where it should lie; None: where it is."""
    if placement is None:
        return tree
    if jax.process_count() == 1:
        return jax.device_put(tree, placement)
    return jax.tree.map(_of_own, tree, jax.tree.broadcast(placement, tree))


def shapes_of(tree: Any, placement: Any) -> Any:
    """What stands for the tree, placed, where a program is compiled; None: the tree itself.

    JAX finds a program again by where its arguments lie, too.
    """
    if placement is None:
        return tree

    def shape(x: Any, where: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

    return jax.tree.map(shape, tree, jax.tree.broadcast(placement, tree))


def _of_own(x: Any, placement: NamedSharding) -> jax.Array:
    """An array over all processes' devices, of which this one places what its own hold."""
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _of_own(jax.random.key_data(x), placement)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        is_there = x.sharding.is_equivalent_to(placement, x.ndim)
        return x if is_there else jax.jit(_same, out_shardings=placement)(x)
    return jax.make_array_from_callback(np.shape(x), placement, lambda index: x[index])


def on_host(x: jax.Array) -> np.ndarray:
    """An array's values, also of those rows that lie on other processes' devices."""
    if x.is_fully_addressable or x.is_fully_replicated:
        return np.asarray(x)
    return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def _same(x: jax.Array) -> jax.Array:
    return x


def own(tree: Any) -> Any:
    """Arrays that lie whole on every device, as they lie on this process's own; NumPy's stay."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0) if isinstance(x, jax.Array) else x, tree)


def whole_on(over: Over) -> Any:
    """The placement of what lies whole on every device."""
    return None if over is None else _placement(over)


def state_on(over: Over) -> Any:
    """The placement of a state."""
    if over is None:
        return None
    whole, rows = _placement(over), _placement(over, AXIS)
    return TrainState(whole, whole, whole, whole, buffer=rows, ema=whole)


def feed_on(over: Over) -> Any:
    """The placement of a feed."""
    if over is None:
        return None
    whole, rows = _placement(over), _placement(over, None, AXIS)
    return Feed(whole, px_index=rows, label_index=rows, fresh=whole, fresh_row=rows)


def _placement(over: Mesh, *axes: str | None) -> Any:
    return NamedSharding(over, PartitionSpec(*axes))


def network_on(over: Over, network: WideResNet) -> WideResNet:
    """The network, whose kernels' and biases' gradients are summed over the devices in float32."""
    if over is None or over.size == 1 or network.dtype == jnp.float32:
        return network
    return network.clone(convolution=convolution(over), promote=with_bias_by_row)


def convolution(over: Mesh) -> Callable[..., jax.Array]:
    """`jax.lax.conv_general_dilated`, its kernel's gradient summed over the devices in float32.

    XLA would sum it in the convolution's type. Where no such gradient is asked for, as in a chain,
    there is none.
    """

    def convolve(x: jax.Array, kernel: jax.Array, *args: Any, **how: Any) -> jax.Array:
        x_like, kernel_like = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (x, kernel))

        def run(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return jax.lax.conv_general_dilated(x, kernel, *args, **how)

        def forward(x: Any, kernel: Any) -> tuple[jax.Array, Any]:
            kept = x.value if kernel.perturbed else None
            return run(x.value, kernel.value), (kept, kernel.value)

        def of_part(x: jax.Array, g: jax.Array) -> jax.Array:
            (own,) = jax.linear_transpose(lambda kernel: run(x, kernel), kernel_like)(g)
            return jax.lax.psum(own.astype(jnp.float32), AXIS)

        def backward(kept: Any, g: jax.Array) -> tuple[Any, Any]:
            x, kernel = kept
            (of_x,) = jax.linear_transpose(lambda x: run(x, kernel), x_like)(g)
            return of_x, None if x is None else total(x, g).astype(kernel.dtype)

        rows, whole = PartitionSpec(AXIS), PartitionSpec()
        specs: Any = {"in_specs": (rows, rows), "out_specs": whole}
        total = jax.shard_map(of_part, mesh=over, check_vma=False, **specs)
        summed = jax.custom_vjp(run)
        summed.defvjp(forward, backward, symbolic_zeros=True)
        return summed(x, kernel)

    return convolve


def with_bias_by_row(*of_conv: Any, **how: Any) -> list[Any]:
    """Flax's `promote_dtype` of (x, kernel, bias), the bias [C] as one for each row, [B, 1, 1, C].

    So its gradient is first each row's own, and their sum over the devices can be in float32.
    """
    x, kernel, bias = promote_dtype(*of_conv, **how)
    return [x, kernel, _for_rows(len(x), bias)]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _for_rows(rows: int, bias: jax.Array) -> jax.Array:
    return jnp.broadcast_to(bias, (rows, 1, 1, *bias.shape))


def _sum_of_rows(rows: int, _: None, g: jax.Array) -> tuple[jax.Array]:
    return (jnp.sum(g.astype(jnp.float32), axis=(0, 1, 2)).astype(g.dtype),)


_for_rows.defvjp(lambda rows, bias: (_for_rows(rows, bias), None), _sum_of_rows)


def shared(recipe: Recipe, devices: int, fewer: str = dividing.FEWER) -> Recipe:
    """The recipe with its rows shared out over so many devices; its results are the same.

    Raises:
      UserError: where that cannot be, see `dividing.require`.
    """
    dividing.require(recipe, devices, fewer)
    shares = recipe.constants.shares._replace(parts=devices)
    return recipe._replace(constants=recipe.constants._replace(shares=shares))
