"""Chains of a trained network: training's Langevin kernel, run for any number of steps.

On the CPU a block of K steps is unrolled, as in training: convolution gradients are 10 to 50 times
slower in a loop there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sadajem_jax import backend, energy, sgld
from sadajem_jax.batch_norm import forward
from sadajem_jax.compute_dtype import cast_once
from sadajem_jax.wide_resnet import WideResNet

NO_LABEL = -1  # a row that follows log p(x), and not log p(x, y) of a class y
BATCH_NORMS = ("train", "eval")


class Chains(NamedTuple):
    """How chains run; hashable, so that all models of one config share the compiled programs.

    Attributes:
      network: (x [B, H, W, channels], train) -> logits [B, C].
      kernel: the constants of the Langevin kernel.
      block: K, the steps of one dispatch.
      batch_norm: "train" (a row depends on its group, as in training) or "eval".
    """

    network: WideResNet
    kernel: sgld.Langevin
    block: int
    batch_norm: str

    def log_density(self, variables: Any, labels: jax.Array) -> sgld.LogDensity:
        """What rows follow: log p(x, y) where labels [B] hold a class y, else log p(x)."""

        def value(x: jax.Array) -> tuple[jax.Array, None]:
            if self.batch_norm == "train":
                logits, _ = forward(self.network, variables, x)
            else:
                logits = jnp.asarray(self.network.apply(variables, x))
            joint = energy.joint_log_density(logits, jnp.maximum(labels, 0))
            return jnp.where(labels >= 0, joint, energy.log_density(logits)), None

        return value

    def run(
        self, variables: Any, keys: jax.Array, x: jax.Array, labels: jax.Array, num_steps: int
    ) -> Iterator[tuple[int, jax.Array]]:
        """Runs one group of chains: blocks of K steps, then single steps for what is left.

        The noise of step t comes from fold_in(key of the row, t), as in `sgld.sample`, and so does
        not depend on how the steps are cut; different cuts agree to rounding.

        Args:
          variables: of the network.
          keys: [B] one a row.
          x: [B, H, W, channels] where the chains start.
          labels: [B] int32, NO_LABEL for log p(x).
          num_steps: length of the chains.

        Yields:
          (steps done, x [B, H, W, channels]) after each block and each single step.
        """
        done = 0
        while done < num_steps:
            length = self.block if 0 < self.block <= num_steps - done else 1
            x = _steps(self, length, variables, keys, x, labels, jnp.asarray(done))
            done += length
            yield done, x


@functools.partial(jax.jit, static_argnums=(0, 1))
def _steps(
    chains: Chains,
    num_steps: int,
    variables: Any,
    keys: jax.Array,
    x: jax.Array,
    labels: jax.Array,
    first: jax.Array,
) -> jax.Array:
    """Steps `first` to first + num_steps - 1 of chains, one program whatever `first` is."""
    return sgld.sample(
        keys,
        x,
        chains.log_density(cast_once(chains.network, variables), labels),
        chains.kernel,
        num_steps=num_steps,
        first_step=first,
        unroll=backend.unrolls(),
    )[0]
