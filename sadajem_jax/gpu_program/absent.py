"""Compiles for a GPU that is not there, with XLA's own compiler for it.

JAX's CUDA packages bring the compiler; a driver or a card it does not need. Their plugin refuses
to be found where there is no driver, unless `JAX_SKIP_CUDA_CONSTRAINTS_CHECK` is set, and is looked
for once, when JAX is first used: `prepare` stands before that.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies
from jax.sharding import Mesh

from sadajem_jax.console.errors import Lacking, UserError
from sadajem_jax.gpu_program import program
from sadajem_jax.gpu_program.roofline import MACHINE
from sadajem_jax.gpu_program.targets import Target
from sadajem_jax.training import runner, sharding
from sadajem_jax.training.recipes import Recipe

PLUGINS = ("xla_cuda13", "xla_cuda12")


class Compiled(NamedTuple):
    """A compiled block, for each of its devices alike.

    Attributes:
      text: the scheduled program.
      argument_bytes: state, feed and data set.
      temp_bytes: what a step keeps meanwhile, work space of cuDNN left out.
      output_bytes: of results that take no argument's place.
    """

    text: str
    argument_bytes: int
    temp_bytes: int
    output_bytes: int

    @property
    def total_bytes(self) -> int:
        """What a device must hold."""
        return self.argument_bytes + self.temp_bytes + self.output_bytes


def is_installed() -> bool:
    """Whether JAX's CUDA packages are there."""
    if importlib.util.find_spec("jax_plugins") is None:
        return False
    return any(importlib.util.find_spec(f"jax_plugins.{name}") for name in PLUGINS)


def require_installed() -> None:
    """Raises Lacking where JAX's CUDA packages are missing."""
    if not is_installed():
        raise Lacking(
            "compiling for a GPU needs JAX's CUDA packages, and no GPU: "
            "pip install -r requirements-cuda.txt"
        )


def prepare() -> None:
    """Makes the CPU the device of this process and the CUDA compiler known; call it first."""
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    jax.config.update("jax_platforms", "cpu")
    # What is compiled for an absent card can be read, and not kept for another process.
    jax.config.update("jax_enable_compilation_cache", False)


def compiled(recipe: Recipe, target: Target, devices: int = 1) -> Compiled:
    """The trainer's block of steps, compiled for so many cards.

    Raises:
      Lacking: if the CUDA packages are missing.
      UserError: if the batches cannot be shared so.
    """
    require_installed()
    recipe, over = shared(recipe, devices), mesh(target, devices)
    network = sharding.network_on(over, recipe.network)
    step, arguments = program.of(recipe._replace(network=network))
    block = runner.program(step, is_looped=True, **sharding.of_program(over, is_looped=True))
    found = block.lower(*arguments).compile()
    sizes: Any = found.memory_analysis()
    return Compiled(
        text=found.as_text() or "",
        argument_bytes=sizes.argument_size_in_bytes,
        temp_bytes=sizes.temp_size_in_bytes,
        output_bytes=sizes.output_size_in_bytes - sizes.alias_size_in_bytes,
    )


def shared(recipe: Recipe, devices: int) -> Recipe:
    """As `sharding.shared`, over machines that are full."""
    if devices > MACHINE and devices % MACHINE:
        raise UserError(f"above {MACHINE}, --devices must be a multiple of it, found {devices}")
    return sharding.shared(recipe, devices, fewer="--devices={}")


def mesh(target: Target, devices: int) -> Mesh:
    """So many absent cards in a row, `MACHINE` of them a machine at most."""
    machines = max(1, devices // MACHINE)
    described = topologies.get_topology_desc(
        platform="cuda",
        topology_name="",
        target_config=target.xla,
        topology=f"1x{machines}x{devices // machines}",
    )
    return topologies.make_mesh(described, (devices,), (sharding.AXIS,))
