"""Adam as PyTorch's, the two learning-rate schedules, and the moving average of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

Schedule = Callable[[Any], Any]
"""Finished iterations (0 before the first) -> learning rate of the next one."""


@dataclass(frozen=True)
class CosineRestart:
    """Cosine decay from `learning_rate` x restart weight to `eta_min`, once in each period.

    A boundary belongs to the period it ends; after the last one the rate stays at `eta_min`. BasicSR's
    CosineAnnealingRestartLR.
    """

    learning_rate: float
    periods: tuple[int, ...]
    restart_weights: tuple[float, ...] = (1.0,)
    eta_min: float = 0.0

    def __post_init__(self):
        """Refuse another number of weights than periods (ValueError)."""
        if len(self.periods) != len(self.restart_weights):
            raise ValueError(
                f"`restart_weights` (={self.restart_weights}) must be as many as `periods` (={self.periods})."
            )

    def __call__(self, finished: Int[Array, ""]) -> Float[Array, ""]:
        """Return the learning rate of the iteration after `finished` ones."""
        ends = np.cumsum(self.periods)
        finished = jnp.minimum(jnp.asarray(finished), ends[-1])
        index = jnp.sum(finished > jnp.asarray(ends[:-1]))
        start = jnp.asarray(ends - self.periods)[index]
        weight = jnp.asarray(self.restart_weights, float)[index]
        period = jnp.asarray(self.periods, float)[index]
        cosine = 1 + jnp.cos(jnp.pi * (finished - start) / period)
        return self.eta_min + weight * 0.5 * (self.learning_rate - self.eta_min) * cosine


@dataclass(frozen=True)
class MultiStep:
    """Multiplies the rate by `gamma` once `milestone` iterations are finished, for each milestone.

    BasicSR's MultiStepRestartLR: a milestone m first acts in iteration m + 1.
    """

    learning_rate: float
    milestones: tuple[int, ...]
    gamma: float = 0.5

    def __call__(self, finished: Int[Array, ""]) -> Float[Array, ""]:
        """Return the learning rate of the iteration after `finished` ones."""
        passed = jnp.sum(jnp.asarray(finished) >= jnp.asarray(self.milestones, int))
        return self.learning_rate * jnp.asarray(self.gamma, float) ** passed


def cosine_restart_schedule(
    learning_rate: float,
    periods: Sequence[int],
    restart_weights: Sequence[float] = (1.0,),
    eta_min: float = 0.0,
) -> CosineRestart:
    """Return the schedule `CosineRestart`; the arguments may be lists."""
    return CosineRestart(learning_rate, tuple(periods), tuple(restart_weights), eta_min)


def multistep_schedule(learning_rate: float, milestones: Sequence[int], gamma: float = 0.5) -> MultiStep:
    """Return the schedule `MultiStep`; the milestones may be a list."""
    return MultiStep(learning_rate, tuple(milestones), gamma)


@dataclass(frozen=True)
class Optimizer:
    """Adam as data: what `adam` takes."""

    schedule: Schedule
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    max_grad_norm: float | None = None

    def transformation(self) -> optax.GradientTransformationExtraArgs:
        """Return the optax transformation, see `adam`."""
        return adam(self.schedule, self.betas, self.weight_decay, max_grad_norm=self.max_grad_norm)


def adam(
    schedule: Schedule,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    eps: float = 1e-8,
    max_grad_norm: float | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Return PyTorch's Adam; `update` wants the number of finished iterations as `finished=`.

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
    """Return the new average: decay x ema + (1 - decay) x params, without bias correction."""
    return jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, ema, params)
