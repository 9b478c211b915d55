"""Sharpness-aware minimization: a pure core, and the optax transform on it; jax and optax only.

SAM (Foret et al. 2021; SADA-JEM Eq. 7) and ASAM (Kwon et al. 2021; SADA-JEM Eq. 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Params = Any
Mask = Any | Callable[[Params], Any]


class SamInfo(NamedTuple):
    """What the ascent step measured.

    Attributes:
      norm: scalar, the norm that it divided by: of g, or of |theta| g (adaptive); 1 where p is
        infinity, which divides by none.
      perturbed: the parameters at theta + eps.
    """

    norm: jax.Array
    perturbed: Params


def sam_gradient(
    params: Params,
    grads: Params,
    grad_fn: Callable[[Params], Any],
    rho: float | jax.Array,
    *,
    adaptive: bool = False,
    p: float = 2,
    mask: Mask | None = None,
    has_aux: bool = False,
) -> tuple[Params, SamInfo, Any]:
    r"""The gradient at the worst point of a rho-ball around the parameters.

    .. math::
      \epsilon = \rho\, T \frac{T g}{\lVert T g \rVert_2} \; (p = 2), \qquad
      \epsilon = \rho\, T \operatorname{sign}(g) \; (p = \infty)

    with T = 1 for SAM and T = diag(|theta|) for ASAM. The norm runs over all parameters together,
    in at least float32. The released ASAM has the p = 2 form; the paper's text gives p = infinity.

    Args:
      params: theta, any pytree of arrays.
      grads: g, of the same structure.
      grad_fn: params -> gradient there, or (gradient, aux) with `has_aux`.
      rho: radius of the ball; 0 gives the gradient at theta itself.
      adaptive: scale the ball by |theta| (ASAM).
      p: 2 or infinity, the norm whose ball it is dual to.
      mask: pytree of bools (or a function params -> such a tree); False leaves a leaf unperturbed.
      has_aux: whether `grad_fn` returns (gradient, aux).

    Returns:
      (gradient at theta + eps, SamInfo, aux or None). A zero gradient moves nothing: all is finite.

    Raises:
      ValueError: if p is neither 2 nor infinity, or the trees do not fit.
    """
    if p not in (2, math.inf):
        raise ValueError(f"p must be 2 or math.inf, found {p!r}")
    _refuse_masked(grads)
    direction = _select(mask, params, grads)
    scale = jax.tree.map(jnp.abs, params) if adaptive else jax.tree.map(jnp.ones_like, params)
    if p == 2:
        direction = jax.tree.map(jnp.multiply, scale, direction)
        norm = tree_norm(direction)
        length = jnp.where(norm > 0, rho / jnp.where(norm > 0, norm, 1), 0)
    else:
        direction = jax.tree.map(jnp.sign, direction)
        norm = jnp.ones(())
        length = jnp.asarray(rho, norm.dtype)  # a whole rho would round the perturbation to zero
    perturbed = jax.tree.map(
        lambda w, s, d: w + (length * (s * d).astype(length.dtype)).astype(w.dtype),
        params,
        scale,
        direction,
    )
    result = grad_fn(perturbed)
    sharp, aux = result if has_aux else (result, None)
    return sharp, SamInfo(norm, perturbed), aux


class SamState(NamedTuple):
    """State of `sam`: the norm the last ascent step divided by, a scalar to watch."""

    norm: jax.Array


def sam(
    rho: float | jax.Array,
    *,
    adaptive: bool = False,
    p: float | None = None,
    mask: Mask | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replaces the gradient by the one at the worst point of a rho-ball (SAM, ASAM).

    .. math::
      g \leftarrow \nabla L\left(\theta + \rho\, \frac{g}{\lVert g \rVert_2}\right)

    It goes *first* in a chain: it replaces whatever stands upstream (clipping or weight decay
    before it would shape the ascent only). Accumulate with `optax.MultiSteps` after it, not around
    it. What `grad_fn` needs besides parameters (the batch, negative samples) it closes over, so
    that both passes see the same.

    Args:
      rho: radius of the ball, at least 0; `optax.inject_hyperparams(sam)(rho=schedule)` makes it
        follow a schedule.
      adaptive: scale the ball by |theta| (ASAM).
      p: 2 or infinity, see `sam_gradient`; None is 2. Under `inject_hyperparams` it and a mask that
        is a function belong to its static_args.
      mask: pytree of bools (or a function params -> such a tree); False leaves a leaf unperturbed.
        Give the mask here: inside `optax.masked` the gradient function would see a torn tree.

    Returns:
      A transform whose `update(grads, state, params, grad_fn=...)` takes the gradient at the
      parameters and a function params -> gradient.

    Raises:
      ValueError: if rho < 0; in `update`, if params or grad_fn is missing or it stands in a mask.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from sadajem_jax import sam
      >>> loss = lambda params: jnp.sum(jnp.square(params))
      >>> tx = optax.chain(sam(rho=0.5), optax.sgd(0.1))
      >>> params = jnp.array([3.0, 4.0])
      >>> state = tx.init(params)
      >>> updates, state = tx.update(jax.grad(loss)(params), state, params, grad_fn=jax.grad(loss))
      >>> [round(float(u), 4) for u in updates]  # -0.1 * 2 (theta + 0.5 theta / |theta|)
      [-0.66, -0.88]

    References:
      Foret et al., Sharpness-Aware Minimization, ICLR 2021. Kwon et al., ASAM, ICML 2021.
      Yang et al., Towards Bridging the Performance Gaps of Joint Energy-based Models, CVPR 2023.
    """
    if not isinstance(rho, jax.core.Tracer) and not rho >= 0:  # NaN as well; a schedule is traced
        raise ValueError(f"rho must be at least 0, found {rho}")
    ball = 2 if p is None else p  # None, as inject_hyperparams would trace a number by default

    def init(params: Params) -> SamState:
        del params
        return SamState(norm=jnp.zeros(()))

    def update(
        updates: Params,
        state: SamState,
        params: Params | None = None,
        *,
        grad_fn: Callable[[Params], Params] | None = None,
        **extra: Any,
    ) -> tuple[Params, SamState]:
        del extra
        if params is None or grad_fn is None:
            raise ValueError(
                "sam needs both passes: call tx.update(grads, state, params, grad_fn=...), "
                "where grad_fn(params) is the gradient there"
            )
        sharp, info, _ = sam_gradient(
            params, updates, grad_fn, rho, adaptive=adaptive, p=ball, mask=mask
        )
        return sharp, SamState(norm=info.norm.astype(state.norm.dtype))

    return optax.GradientTransformationExtraArgs(init, update)


def tree_norm(tree: Params) -> jax.Array:
    """L2 norm of all leaves together, a scalar, summed in at least float32.

    `optax.tree.norm`, but for its vectors, which a network has by the dozen (biases, scales): they
    are summed together, since each sum is a kernel on a GPU.
    """
    leaves = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in jax.tree.leaves(tree)]
    vectors = [x for x in leaves if x.ndim == 1]
    summed = [x for x in leaves if x.ndim != 1] + [jnp.concatenate(vectors)] * bool(vectors)
    return jnp.sqrt(sum((jnp.sum(jnp.square(x)) for x in summed), start=jnp.zeros(())))


def _select(mask: Mask | None, params: Params, grads: Params) -> Params:
    if mask is None:
        return grads
    tree = mask(params) if callable(mask) else mask
    return jax.tree.map(lambda g, keep: jnp.where(keep, g, jnp.zeros_like(g)), grads, tree)


def _refuse_masked(grads: Params) -> None:
    masked = jax.tree.leaves(grads, is_leaf=lambda x: isinstance(x, optax.MaskedNode))
    if any(isinstance(leaf, optax.MaskedNode) for leaf in masked):
        raise ValueError(
            "sam found a MaskedNode among the gradients: it stands inside optax.masked or "
            "optax.multi_transform, where grad_fn would get half a tree; use sam(rho, mask=...)"
        )
