"""The replay buffer of negative samples: device arrays, drawn and written stratum by stratum.

The slots are cut into `num_shards` logical strata, a number of the config and not of the machine:
a batch draws its share in every stratum, so any number of devices that divides the strata draws
the same. The released code draws with replacement, and a slot may then be written twice; ours
draws without.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sadajem_jax import row_parts


def draw_slots(key: jax.Array, *, size: int, num_shards: int, batch_size: int) -> jax.Array:
    """Distinct slots, uniformly, the same number from every stratum.

    Args:
      key: of the step; stratum s uses fold_in(key, s).
      size: N slots, a multiple of `num_shards`.
      num_shards: S strata; stratum s holds slots s N / S to (s + 1) N / S.
      batch_size: B, a multiple of `num_shards`, at most N.

    Returns:
      [B] int32 slots, stratum by stratum.

    Raises:
      ValueError: if S does not divide N and B, or B > N.
    """
    if size % num_shards or batch_size % num_shards or batch_size > size:
        raise ValueError(
            f"num_shards={num_shards} must divide the buffer ({size}) and the batch "
            f"({batch_size}), and the batch must fit the buffer"
        )
    width, share = size // num_shards, batch_size // num_shards
    strata = jnp.arange(num_shards)

    def draw(stratum: jax.Array) -> jax.Array:
        noise = jax.random.bits(jax.random.fold_in(key, stratum), (width,))
        return stratum * width + jax.lax.top_k(noise, share)[1]

    return jax.vmap(draw)(strata).reshape(batch_size).astype(jnp.int32)


def classes(slots: jax.Array, num_classes: int) -> jax.Array:
    """The class of each slot's chain, where chains have one: slots [B] -> [B] int, in turns.

    IGEBM keeps a label beside every image; here a slot has its class for good, so nothing is kept,
    and each class has its share of the buffer. `Starts.fill` fills it in the same turns.
    """
    return slots % num_classes


def reinitialised(keys: jax.Array, reinit_prob: float) -> jax.Array:
    """Which rows start anew: [B] keys of (step, global row) -> [B] bool."""
    return jax.vmap(lambda key: jax.random.bernoulli(key, reinit_prob))(keys)


def read(
    images: jax.Array, slots: jax.Array, fresh: jax.Array, fresh_row: jax.Array, parts: int = 1
) -> jax.Array:
    """The chain's start: buffer rows, some of them replaced by fresh ones.

    Args:
      images: [N, H, W, channels] the buffer.
      slots: [B] int, as `draw_slots` gives them.
      fresh: [M, H, W, channels] prepared fresh rows.
      fresh_row: [B] int, which fresh row replaces this one; negative: none.
      parts: equal parts of buffer and batch that may lie on devices of their own, a divisor of the
        strata's number.

    Returns:
      [B, H, W, channels].
    """
    replace = (fresh_row >= 0)[:, None, None, None]
    made, own = fresh[jnp.maximum(fresh_row, 0)], _within(slots, len(images), parts)
    kept = row_parts.apart(lambda images, slots: images[slots], parts, images, own)
    return jnp.where(replace, made, kept)


def write(images: jax.Array, slots: jax.Array, x_neg: jax.Array, parts: int = 1) -> jax.Array:
    """The buffer with rows `x_neg` [B, ...] put in the distinct `slots` [B]; parts as in `read`."""
    own = _within(slots, len(images), parts)
    return row_parts.apart(_put, parts, images, own, x_neg.astype(images.dtype))


def _put(images: jax.Array, slots: jax.Array, rows: jax.Array) -> jax.Array:
    return images.at[slots].set(rows, unique_indices=True)


def _within(slots: jax.Array, size: int, parts: int) -> jax.Array:
    """Slots counted from the start of their part: those of a part of the batch all lie in it."""
    return slots if parts == 1 else slots % (size // parts)
