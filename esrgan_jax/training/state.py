"""What training changes: exactly the arrays that a checkpoint holds."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array


class Skipped(struct.PyTreeNode):
    """Updates of one network that were not applied, because a loss or gradient was not finite (all int32).

    Attributes:
      total: how many in this stage.
      in_a_row: how many since the last one that was applied.
      last: iteration of the newest, 0 if there was none.
    """

    total: Array
    in_a_row: Array
    last: Array

    def count(self, finite: Array, iteration: Array) -> Skipped:
        """After the update of `iteration`, which was applied if `finite`."""
        return Skipped(
            jnp.where(finite, self.total, self.total + 1),
            jnp.where(finite, 0, self.in_a_row + 1),
            jnp.where(finite, self.last, iteration),
        )


class GeneratorState(struct.PyTreeNode):
    """The generator between two iterations.

    Attributes:
      finished: iterations of this stage that are done (int32), those with a skipped update included.
      params: linen parameters.
      ema: their moving average, same structure; what is evaluated and published.
      opt_state: the optimizer's.
      skipped: updates that were not applied.
    """

    finished: Array
    params: Any
    ema: Any
    opt_state: Any
    skipped: Skipped


class DiscriminatorState(struct.PyTreeNode):
    """The discriminator between two iterations.

    Attributes:
      finished: iterations of this stage that are done (int32), those with a skipped update included.
      params: linen parameters.
      batch_stats: running statistics of its batch norms.
      opt_state: the optimizer's.
      skipped: updates that were not applied.
    """

    finished: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    skipped: Skipped


def create_generator_state(
    params: Any, optimizer: optax.GradientTransformation, ema: Any | None = None
) -> GeneratorState:
    """A generator at iteration 0; its EMA starts as `ema`, else as the parameters themselves."""
    ema = params if ema is None else ema
    skipped = Skipped(_zero(), _zero(), _zero())
    return GeneratorState(_zero(), params, ema, _initial(optimizer, params), skipped)


def create_discriminator_state(variables: Any, optimizer: optax.GradientTransformation) -> DiscriminatorState:
    """A discriminator at iteration 0, from {"params", "batch_stats"}."""
    params = variables["params"]
    return DiscriminatorState(
        _zero(),
        params,
        variables["batch_stats"],
        _initial(optimizer, params),
        Skipped(_zero(), _zero(), _zero()),
    )


def _initial(optimizer: optax.GradientTransformation, params: Any) -> Any:
    # One program, which the compilation cache keeps, instead of one for each shape.
    return jax.jit(optimizer.init)(params)


def _zero() -> Array:
    return jnp.zeros((), jnp.int32)
