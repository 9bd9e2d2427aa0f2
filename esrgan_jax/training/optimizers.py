"""Adam as PyTorch's, the two learning-rate schedules, and the moving average of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

Schedule = Callable[[Any], Any]
"""Finished iterations (0 before the first) -> learning rate of the next one."""


def cosine_restart_schedule(
    learning_rate: float,
    periods: Sequence[int],
    restart_weights: Sequence[float] = (1.0,),
    eta_min: float = 0.0,
) -> Schedule:
    """Cosine decay from `learning_rate` x restart weight to `eta_min`, once in each period.

    A boundary belongs to the period it ends; after the last one the rate stays at `eta_min`. BasicSR's
    CosineAnnealingRestartLR.

    Raises:
      ValueError: not as many weights as periods.
    """
    if len(periods) != len(restart_weights):
        raise ValueError(f"`restart_weights` (={restart_weights}) must be as many as `periods` (={periods}).")
    ends = np.cumsum(periods)

    def schedule(finished: Int[Array, ""]) -> Float[Array, ""]:
        finished = jnp.minimum(jnp.asarray(finished), ends[-1])
        index = jnp.sum(finished > jnp.asarray(ends[:-1]))
        start = jnp.asarray(ends - periods)[index]
        weight, period = jnp.asarray(restart_weights, float)[index], jnp.asarray(periods, float)[index]
        cosine = 1 + jnp.cos(jnp.pi * (finished - start) / period)
        return eta_min + weight * 0.5 * (learning_rate - eta_min) * cosine

    return schedule


def multistep_schedule(learning_rate: float, milestones: Sequence[int], gamma: float = 0.5) -> Schedule:
    """Multiplies the rate by `gamma` once `milestone` iterations are finished, for each milestone.

    BasicSR's MultiStepRestartLR: a milestone m first acts in iteration m + 1.
    """

    def schedule(finished: Int[Array, ""]) -> Float[Array, ""]:
        passed = jnp.sum(jnp.asarray(finished) >= jnp.asarray(milestones, int))
        return learning_rate * jnp.asarray(gamma, float) ** passed

    return schedule


def adam(
    schedule: Schedule,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    eps: float = 1e-8,
    max_grad_norm: float | None = None,
) -> optax.GradientTransformationExtraArgs:
    """PyTorch's Adam; `update` wants the number of finished iterations as `finished=`.

    The rate follows the iterations, not the updates: the official scheduler also counts the iterations in which
    the generator rests. Weight decay is L2 in the gradient, as in torch.optim.Adam. Before all of that the
    gradient is scaled down to the global norm `max_grad_norm`, where it is longer and this is not None
    (Pascanu et al. 2013, arXiv:1211.5063; torch's clip_grad_norm_).
    """

    def scale_by_rate(updates, state, params=None, *, finished, **_):
        rate = schedule(finished)
        return jax.tree.map(lambda u: -jnp.asarray(rate, u.dtype) * u, updates), state

    rate = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), scale_by_rate)

    # One link for both, so that states have the same structure with clipping and without.
    def clip_and_decay(updates, params):
        if max_grad_norm is not None:
            updates, _ = optax.clip_by_global_norm(max_grad_norm).update(updates, optax.EmptyState())
        if weight_decay:
            updates = jax.tree.map(lambda u, p: u + weight_decay * p, updates, params)
        return updates

    return optax.chain(optax.stateless(clip_and_decay), optax.scale_by_adam(*betas, eps=eps), rate)


def update_ema(ema: Any, params: Any, decay: float) -> Any:
    """Moves the average: decay x ema + (1 - decay) x params, without bias correction."""
    return jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, ema, params)
